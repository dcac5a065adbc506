/** Words of the tables that others need without the tables themselves: drizzle takes longest to load. */

export const CUSTOMER_STATUSES = [
  'active',
  'paused',
  'reauth_required',
  'forbidden',
  'not_found',
  'not_authorized',
] as const;
export type CustomerStatus = (typeof CUSTOMER_STATUSES)[number];

export const RUN_STATUSES = [
  'running',
  'succeeded',
  'partial',
  'waiting',
  'failed',
  'dead_lettered',
  'fenced',
  'abandoned',
] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];
