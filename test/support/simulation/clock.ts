/**
 * One clock for the workers, for Calico and for Postgres, which stands still until it is told to go on. Postgres' own cannot
 * be set; but names are looked up along `search_path`, and in the simulation's database a schema stands before `pg_catalog`
 * that has a `now()` and a `clock_timestamp()` of its own. What the project's statements mean by them is then this clock.
 */
import pg from 'pg';

/** A microsecond a reading, so that no two transactions and no two states of a row are of one instant. */
const INSTALL = `
CREATE SCHEMA sim_clock;
CREATE SEQUENCE sim_clock.microseconds;
CREATE FUNCTION sim_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS $$ SELECT timestamptz 'epoch' + nextval('sim_clock.microseconds') * interval '1 microsecond' $$;
-- The same instant throughout a transaction, which remembers it in a setting of its own.
CREATE FUNCTION sim_clock.now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE at text := current_setting('sim_clock.now', true);
BEGIN
  IF at IS NULL OR at = '' THEN
    at := set_config('sim_clock.now', sim_clock.clock_timestamp()::text, true);
  END IF;
  RETURN at::timestamptz;
END $$;
-- A column's default was looked up when the table was made.
DO $$
DECLARE column_of record;
BEGIN
  FOR column_of IN
    SELECT adrelid::regclass AS of_table, attname FROM pg_attrdef
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE pg_get_expr(adbin, adrelid) = 'now()'
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT sim_clock.now()', column_of.of_table, column_of.attname);
  END LOOP;
  EXECUTE format('ALTER DATABASE %I SET search_path = sim_clock, pg_catalog, public', current_database());
END $$`;

export type SimulatedClock = {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Sets it to an instant, for Postgres too. */
  set(ms: number): Promise<void>;
  advance(ms: number): Promise<void>;
};

/** Puts the clock into a database; connections that are opened from then on go by it. */
export async function installClock(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(INSTALL).finally(() => client.end());
}

/** The clock of a database that has one. */
export function openClock(pool: pg.Pool): SimulatedClock {
  let nowMs = 0;
  const set = async (ms: number) => {
    nowMs = ms;
    await pool.query("SELECT setval('sim_clock.microseconds', $1::bigint * 1000)", [ms]);
  };
  return { now: () => nowMs, set, advance: (ms) => set(nowMs + ms) };
}
