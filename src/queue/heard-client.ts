import pg from 'pg';

/**
 * A Postgres connection whose errors end nobody. Postgres may end a connection in the very packet that makes it, when nobody has heard of
 * it yet, or while it is being closed, when BullMQ has stopped listening (6.7, postgres-connection.js); an error that nobody
 * listens to ends the process. Whoever has the connection hears of it at the next statement all the same.
 */
export class HeardClient extends pg.Client {
  override emit(event: string | symbol, ...rest: unknown[]): boolean {
    return (event !== 'error' || this.listenerCount('error') > 0) && super.emit(event, ...rest);
  }
}
