/** Times, durations and counts as people read them. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h": two units at most. */
export function formatDuration(ms: number): string {
  if (ms < 10 * SECOND) return `${Math.max(0, ms / SECOND).toFixed(1)} s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return twoUnits(ms, MINUTE, 'min', SECOND, 's');
  return ms < DAY ? twoUnits(ms, HOUR, 'h', MINUTE, 'min') : twoUnits(ms, DAY, 'd', HOUR, 'h');
}

function twoUnits(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % large) / small);
  const first = `${Math.floor(ms / large)} ${largeName}`;
  return rest === 0 ? first : `${first} ${rest} ${smallName}`;
}

/** "12 s ago", "in 5 min", and beyond two days the UTC time to the minute. Null: "never". */
export function formatTime(at: Date | null, nowMs: number): string {
  if (at === null) return 'never';
  const ms = at.getTime() - nowMs;
  const far = Math.abs(ms);
  if (far >= 2 * DAY) return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  if (far < SECOND) return 'now';
  const [size, name] = far < MINUTE ? [SECOND, 's'] : far < HOUR ? [MINUTE, 'min'] : [HOUR, 'h'];
  const amount = `${Math.floor(far / size)} ${name}`;
  return ms < 0 ? `${amount} ago` : `in ${amount}`;
}

/** "1 page", "12,000 pages". */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`;
}

/** A Postgres interval of hours, minutes and seconds ("168:00:00") as a duration. */
export function formatInterval(text: string): string {
  const [hours, minutes, seconds] = text.split(':').map(Number);
  if (hours === undefined || minutes === undefined || seconds === undefined) return text;
  return formatDuration(hours * HOUR + minutes * MINUTE + seconds * SECOND);
}

/** A word of a command line to be copied: quoted where a shell would read it otherwise. */
export function shellWord(text: string): string {
  return /^[\w.@:/+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
