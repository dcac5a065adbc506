/** Calico as a stranger reads the contract: a sample of what test/reliability/prism-mock.test.ts runs in full. */
import { test } from 'vitest';
import { syncRandomPages } from './support/prism-pages.ts';

const PAGES = 50;

test(`${PAGES} pages of random data: what can be stored lands, the rest is quarantined, the worker stays up`, () =>
  syncRandomPages(PAGES));
