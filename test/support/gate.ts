import type { SandboxRequest } from '../../src/sandbox/server-log.ts';

/** Holds the sandbox's answers: `onRequest` of a world's sandbox. */
export type Gate = {
  onRequest(request: SandboxRequest): Promise<void>;
  /** Resolves when the first request that it holds is there. */
  arrival: Promise<SandboxRequest>;
  open(): void;
};

/** A gate that lets everything through but what `isHeld` says, until it is opened. */
export function createGate(isHeld: (request: SandboxRequest) => boolean): Gate {
  const arrived = Promise.withResolvers<SandboxRequest>();
  const opened = Promise.withResolvers<void>();
  return {
    arrival: arrived.promise,
    open: opened.resolve,
    onRequest: async (request) => {
      if (!isHeld(request)) return;
      arrived.resolve(request);
      await opened.promise;
    },
  };
}

/** The nth request (from 1) of an endpoint. */
export function nth(n: number, endpoint: SandboxRequest['endpoint']): (request: SandboxRequest) => boolean {
  let seen = 0;
  return (request) => request.endpoint === endpoint && ++seen === n;
}
