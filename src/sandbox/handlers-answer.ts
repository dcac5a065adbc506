/** The two envelopes of the contract: data, and errors. */
import type { PageFault } from './faults.ts';

export interface Answer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Codes as in response-codes.md; an error's HTTP status is its code, or 400 where that is none of HTTP's. */
export function errorAnswer(code: number, message: string, status = code < 600 ? code : 400): Answer {
  return { status, body: JSON.stringify({ code, message }) };
}

/** The envelope that all data comes in; provider errors, on demand, make it a 206. */
export function dataAnswer(data: string, fault: PageFault | null, page?: object): Answer {
  const errors = fault !== null && 'partial' in fault ? fault.partial : null;
  const parts = [`"data":${data}`];
  if (page !== undefined) parts.push(`"page":${JSON.stringify(page)}`);
  if (errors !== null) parts.push(`"errors":${JSON.stringify(errors)}`);
  return { status: errors === null ? 200 : 206, body: `{${parts.join(',')}}` };
}
