/** The budget of requests to Calico, one for all processes; where it is kept is not this folder's business. */
export type Limiter = {
  /**
   * Waits until a request may be sent and takes its place in the budget. Every request does, to every endpoint.
   * @throws the signal's reason, at once when it is aborted.
   */
  acquire(signal: AbortSignal): Promise<void>;
};
