/** Sends answers, whole or spoiled by a fault. */
import type { ServerResponse } from 'node:http';
import type { FaultAnswer, PageFault } from './faults.ts';
import { type Answer, errorAnswer } from './handlers-answer.ts';

/** The fault as the handler of pages understands it; null for the other faults. */
export function pageFaultOf(fault: FaultAnswer | null): PageFault | null {
  if (fault === null) return null;
  const isPageFault =
    'partial' in fault ||
    'sameCursor' in fault ||
    'emptyPageWithCursor' in fault ||
    'hasMoreWithoutCursor' in fault ||
    'endlessWalk' in fault;
  return isPageFault ? fault : null;
}

/** The answer that a fault puts in place of the true one; null where the request is to be acted upon. */
export function replacementFor(fault: FaultAnswer | null): Answer | 'reset' | null {
  if (fault === null) return null;
  if ('reset' in fault) return 'reset';
  if ('bodyCode' in fault) {
    return withHeaders(errorAnswer(fault.bodyCode, 'A fault of the sandbox', fault.status ?? 200), fault);
  }
  if ('rawBody' in fault) return withHeaders({ status: fault.status ?? 200, body: fault.rawBody }, fault);
  if (!('status' in fault)) return null;
  if (fault.body !== undefined)
    return withHeaders({ status: fault.status, body: JSON.stringify(fault.body) }, fault);
  return isSuccess(fault.status)
    ? null
    : withHeaders(errorAnswer(fault.status, 'A fault of the sandbox', fault.status), fault);
}

/** The true answer under the status and with the headers that a fault names. */
export function restated(answer: Answer, fault: FaultAnswer | null): Answer {
  if (fault === null || !('status' in fault) || fault.status === undefined || answer.status !== 200)
    return answer;
  return withHeaders({ ...answer, status: fault.status }, fault);
}

/** How many bytes of the body a fault lets through, and whether the connection stays open after them. */
export function cutOf(
  fault: FaultAnswer | null,
): { readonly bytes: number; readonly staysOpen: boolean } | null {
  if (fault === null) return null;
  if ('truncate' in fault) return { bytes: fault.truncate, staysOpen: false };
  return 'stallBodyAfterBytes' in fault ? { bytes: fault.stallBodyAfterBytes, staysOpen: true } : null;
}

/** Writes an answer. Cut short, it still promises its whole length. */
export function send(response: ServerResponse, answer: Answer, cut: ReturnType<typeof cutOf> = null): void {
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    ...answer.headers,
  });
  if (cut === null) {
    response.end(body);
    return;
  }
  response.flushHeaders();
  if (cut.bytes > 0) response.write(body.subarray(0, Math.min(cut.bytes, body.length - 1)));
  if (!cut.staysOpen) response.socket?.destroySoon();
}

function withHeaders(answer: Answer, { headers }: { readonly headers?: Answer['headers'] }): Answer {
  return headers === undefined ? answer : { ...answer, headers };
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** Milliseconds that a fault holds an answer back; `Infinity` for one that never comes. */
export function delayOf(fault: FaultAnswer | null): number {
  return fault !== null && 'delayMs' in fault ? fault.delayMs : 0;
}
