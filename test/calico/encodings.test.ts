/** One page in every wrapping that HTTP has for it; what cannot be unwrapped is unreadable, never an empty page. */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { fetchPage } from '../../src/calico/pages.ts';
import { clientOf, failureOf, never, serveAnswer } from './wire.ts';

const RECORD = '{"transaction_id":"t1","note":"é\\u0000"}';
const BODY = Buffer.from(`{"data":{"transactions":[ ${RECORD} ]},"page":{"next_cursor":null}}`);
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

async function page(body: Uint8Array, headers: Record<string, string>, status = 200) {
  const client = clientOf(await serveAnswer(body, status, headers));
  const request = { cursor: null, limit: 100, startTime: null, bearer: 'bearer', signal: never };
  return fetchPage(client, { endpoint: 'transactions', ...request });
}

test.each<[string, Uint8Array, Record<string, string>]>([
  ['plain', BODY, {}],
  ['with a BOM', Buffer.concat([BOM, BODY]), {}],
  ['gzip', gzipSync(BODY), { 'content-encoding': 'gzip' }],
  ['br', brotliCompressSync(BODY), { 'content-encoding': 'br' }],
  ['deflate', deflateSync(BODY), { 'content-encoding': 'deflate' }],
  ['gzip of gzip', gzipSync(gzipSync(BODY)), { 'content-encoding': 'gzip, gzip' }],
  ['gzip of a BOM', gzipSync(Buffer.concat([BOM, BODY])), { 'content-encoding': 'gzip' }],
  ['text/html', BODY, { 'content-type': 'text/html' }],
  ['a charset that it is not', BODY, { 'content-type': 'application/json; charset=iso-8859-1' }],
  ['no content type', BODY, { 'content-type': '' }],
])('%s: the page is read, and its records’ text is exact', async (_what, body, headers) => {
  const { records } = await page(body, headers);
  expect(records.length).toBe(1);
  expect(records.read(0)).toEqual({ transaction_id: 't1', note: 'é\\u0000' });
  expect(records.sourceOf(0)).toBe(RECORD);
});

test.each<[string, Uint8Array, Record<string, string>]>([
  ['gzip cut short', gzipSync(BODY).subarray(0, 40), { 'content-encoding': 'gzip' }],
  ['gzip that is none', BODY, { 'content-encoding': 'gzip' }],
  ['br that is none', BODY, { 'content-encoding': 'br' }],
  ['gzip that does not say so', gzipSync(BODY), {}],
  [
    'gzip of more than the limit',
    gzipSync(Buffer.alloc(2 * 1024 * 1024, ' ')),
    { 'content-encoding': 'gzip' },
  ],
  ['UTF-16', Buffer.from(`\ufeff${BODY}`, 'utf16le'), {}],
  ['Latin-1', Buffer.from(BODY.toString(), 'latin1'), {}],
  ['a web page', Buffer.from('<!doctype html><title>Maintenance</title>'), { 'content-type': 'text/html' }],
  ['nothing but nesting', Buffer.from(`${'['.repeat(100_000)}${']'.repeat(100_000)}`), {}],
  ['nothing', Buffer.alloc(0), {}],
])('%s: unreadable', async (_what, body, headers) => {
  expect(await failureOf(page(body, headers))).toMatchObject({ kind: 'unreadable', httpStatus: 200 });
});

test('a code in a body that nests too deep for the stack is heard all the same', async () => {
  const body = Buffer.from(`{"code":603,"detail":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
  expect(await failureOf(page(body, {}))).toMatchObject({ kind: 'refused', code: 603 });
});
