/** What a service does all day: numbered rows are written and read back through the pool, whatever happens to the tunnel. */
import {randomUUID} from 'node:crypto';
import {setTimeout as sleep} from 'node:timers/promises';
import pg from 'pg';
import {isConnectionError} from './pool.js';
import type {PostgresAddress} from './postgres.js';
import type {QueryTally, Verdict} from './timeline.js';

/** So long a query may take without having waited for anything. */
const promptly = 100;
const newTally = (): QueryTally => ({waited: 0, retried: 0, longest: 0});

export class Workload {
  readonly #pool: pg.Pool;
  readonly #signal: AbortSignal;
  /** What the server has acknowledged: each of these rows has to be there in the end. */
  readonly #acknowledged = new Map<number, string>();
  /** When each query in progress began; the oldest comes first. */
  readonly #inProgress = new Map<symbol, number>();
  readonly #watchers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #lastId = 0;
  #answered = 0;
  /** The same, for each tenth of a second since the start. */
  readonly #tenths: number[] = [];
  #began = 0;
  #perSecond = 0;
  #unseen = 0;
  #misread = 0;
  #tally = newTally();
  #failure: Error | undefined;

  constructor(pool: pg.Pool, signal: AbortSignal) {
    this.#pool = pool;
    this.#signal = signal;
  }

  /** How many queries were answered in each tenth of a second that is over. */
  get pulse(): readonly number[] {
    return Array.from({length: this.#tenth()}, (_, index) => this.#tenths[index] ?? 0);
  }

  get usual(): number {
    return this.#perSecond / 10;
  }

  get waiting(): number {
    return this.#inProgress.size;
  }

  /** Makes the table and lets queries arrive: they do not wait for each other, as in a service. */
  async start(perSecond: number): Promise<void> {
    await this.#pool.query('CREATE TABLE entry (id bigint PRIMARY KEY, payload text NOT NULL)');
    this.#began = performance.now();
    this.#perSecond = perSecond;
    this.#timer = setInterval(() => {
      const id = ++this.#lastId;
      const payload = randomUUID();
      void this.#run((again) => this.#write(id, payload, again));
      void this.#run(() => this.#read());
    }, 2000 / perSecond);
  }

  /** A fresh account of how queries fare, from now on. */
  beginTally(): QueryTally {
    this.#tally = newTally();
    return this.#tally;
  }

  /** Resolves when every query that began before `moment` is answered. */
  async settled(moment: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const watcher = (): void => {
        const [oldest] = this.#inProgress.values();
        if (oldest !== undefined && oldest <= moment) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
      watcher();
    });
    if (this.#failure) throw this.#failure;
  }

  /** No new queries. */
  end(): void {
    clearInterval(this.#timer);
  }

  /** Compares the table with what was acknowledged, over a connection that does not go through the tunnel. */
  async verify(address: PostgresAddress): Promise<Omit<Verdict, 'starts'>> {
    const client = new pg.Client({...address});
    await client.connect();
    const {rows} = await client.query<{id: string; payload: string}>('SELECT id, payload FROM entry ORDER BY id');
    await client.end();
    const table = new Map(rows.map(({id, payload}) => [Number(id), payload]));
    return {
      queries: this.#answered,
      acknowledged: this.#acknowledged.size,
      missing: [...this.#acknowledged].filter(([id, payload]) => table.get(id) !== payload).map(([id]) => id),
      unexpected: [...table.keys()].filter((id) => !this.#acknowledged.has(id)),
      unseen: this.#unseen,
      misread: this.#misread,
    };
  }

  /**
   * An INSERT whose connection breaks may have been committed or not; nobody can tell from here. With a key of the client's own
   * it can simply be repeated: ON CONFLICT makes of the second one a look whether the first is there.
   */
  async #write(id: number, payload: string, again: boolean): Promise<void> {
    const statement = 'INSERT INTO entry (id, payload) VALUES ($1, $2) ON CONFLICT DO NOTHING';
    const {rowCount} = await this.#pool.query(statement, [id, payload]);
    if (again && rowCount === 0) this.#unseen++;
    this.#acknowledged.set(id, payload);
  }

  async #read(): Promise<void> {
    const id = 1 + Math.floor(Math.random() * this.#lastId);
    const expected = this.#acknowledged.get(id);
    const {rows} = await this.#pool.query<{payload: string}>('SELECT payload FROM entry WHERE id = $1', [id]);
    if (expected !== undefined && rows[0]?.payload !== expected) this.#misread++;
  }

  /** One query, repeated until it is answered. */
  async #run(query: (again: boolean) => Promise<void>): Promise<void> {
    const key = Symbol();
    const began = performance.now();
    this.#inProgress.set(key, began);
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await query(attempt > 1);
          break;
        } catch (error) {
          if (!isConnectionError(error)) throw error;
          this.#tally.retried++;
          // Until the tunnel knows that it is down, connections are refused at once.
          await sleep(Math.min(10 * attempt, 100), undefined, {signal: this.#signal});
        }
      }
      this.#answered++;
      this.#tenths[this.#tenth()] = (this.#tenths[this.#tenth()] ?? 0) + 1;
    } catch (error) {
      if (!this.#signal.aborted) this.#failure ??= error as Error;
    } finally {
      const took = performance.now() - began;
      this.#inProgress.delete(key);
      if (took > promptly) this.#tally.waited++;
      this.#tally.longest = Math.max(this.#tally.longest, took);
      for (const watcher of this.#watchers) watcher();
    }
  }

  #tenth(): number {
    return Math.floor((performance.now() - this.#began) / 100);
  }
}
