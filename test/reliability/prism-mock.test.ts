/** Calico as a stranger reads the contract; `npm test` runs a sample (test/prism-mock.test.ts). */
import { test } from 'vitest';
import { reportFigures } from '../support/figures.ts';
import { syncRandomPages } from '../support/prism-pages.ts';

const PAGES = 1_000;

test(`${PAGES} pages of random data: what can be stored lands, the rest is quarantined, the worker stays up`, async () => {
  await syncRandomPages(PAGES);
  reportFigures({
    tried: 'A mock server made of the contract answers with random data',
    often: `${PAGES.toLocaleString('en')} pages`,
    result: 'what can be stored lands, the rest is quarantined with its text, every receipt balances',
  });
});
