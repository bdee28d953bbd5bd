/** What a service does all day: numbered rows are written and read back through its pools, whatever happens to the tunnel. */
import {randomUUID} from 'node:crypto';
import {setTimeout as sleep} from 'node:timers/promises';
import pg from 'pg';
import {isConnectionError, type Pools} from './pool.js';
import type {PostgresAddress} from './postgres.js';
import type {QueryTally, Verdict} from './timeline.js';

/** So long a query may take without having waited for anything. */
const promptly = 100;
/** So long the machine is tried out, in milliseconds. */
const trial = 500;
/** So many queries a second arrive at the least, and at the most. */
const [fewest, most] = [15, 150];
/** So much of what the machine can do is asked of it: what has waited has to be caught up with besides. */
const share = 0.3;
/** A query that fails so often is not answered any more. */
const maxAttempts = 50;

const newTally = (brokenAt: number, inFlight: number): QueryTally => ({
  brokenAt,
  inFlight,
  lost: 0,
  stale: 0,
  failed: 0,
  waits: [],
});

export class Workload {
  readonly #pools: Pools;
  readonly #signal: AbortSignal;
  readonly #table: string;
  /** When each connection was there. */
  readonly #births = new WeakMap<object, number>();
  /** What the server has acknowledged: each of these rows has to be there in the end. */
  readonly #acknowledged = new Map<number, string>();
  /** When each query in progress began; the oldest comes first. */
  readonly #inProgress = new Map<symbol, number>();
  /** When all was read that had come before the break. */
  #readAt = Infinity;
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
  #tally = newTally(Infinity, 0);
  #onAnswer: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(pools: Pools, signal: AbortSignal, table: string) {
    this.#pools = pools;
    this.#signal = signal;
    this.#table = table;
    for (const pool of [pools.kept, pools.fresh])
      pool.on('connect', (client) => this.#births.set(client, performance.now()));
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

  /**
   * Makes the table and lets queries arrive: they do not wait for each other, as in a service. How many, a second, depends
   * on the machine.
   */
  async start(): Promise<number> {
    await this.#pools.kept.query(`CREATE TABLE ${this.#table} (id bigint PRIMARY KEY, payload text NOT NULL)`);
    this.#perSecond = Math.round(Math.min(Math.max(share * (await this.#capacity()), fewest), most));
    this.#began = performance.now();
    this.#answered = 0;
    this.#tenths.length = 0;
    let ticks = 0;
    this.#timer = setInterval(() => void this.#three(ticks++), 3000 / this.#perSecond);
    return this.#perSecond;
  }

  /** So many a second are answered if one comes after the other. */
  async #capacity(): Promise<number> {
    const began = performance.now();
    for (let ticks = 0; performance.now() - began < trial; ticks++) await this.#three(ticks);
    return (1000 * this.#answered) / (performance.now() - began);
  }

  /** A third on a new connection. */
  async #three(ticks: number): Promise<void> {
    const {kept, fresh} = this.#pools;
    await Promise.all([this.#put(kept), this.#get(kept), ticks % 2 ? this.#put(fresh) : this.#get(fresh)]);
  }

  async #put(pool: pg.Pool): Promise<void> {
    const id = ++this.#lastId;
    const payload = randomUUID();
    await this.#run(pool, (client, again) => this.#write(client, id, payload, again));
  }

  async #get(pool: pg.Pool): Promise<void> {
    await this.#run(pool, (client) => this.#read(client));
  }

  /**
   * A fresh account of how queries fare, from a break on that came right now.
   *
   * @param onAnswer - called for the first answer to a query that began later, on a connection of its own
   */
  beginTally(onAnswer: () => void): QueryTally {
    this.#onAnswer = onAnswer;
    this.#tally = newTally(performance.now(), this.#inProgress.size);
    this.#readAt = Infinity;
    // The first may come before the event loop has looked for what there is to read, the second comes after.
    setImmediate(() => setImmediate(() => (this.#readAt = performance.now())));
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
    const {rows} = await client.query<{id: string; payload: string}>(
      `SELECT id, payload FROM ${this.#table} ORDER BY id`,
    );
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
  async #write(client: pg.PoolClient, id: number, payload: string, again: boolean): Promise<void> {
    const statement = `INSERT INTO ${this.#table} (id, payload) VALUES ($1, $2) ON CONFLICT DO NOTHING`;
    const {rowCount} = await client.query(statement, [id, payload]);
    if (again && rowCount === 0) this.#unseen++;
    this.#acknowledged.set(id, payload);
  }

  async #read(client: pg.PoolClient): Promise<void> {
    const id = 1 + Math.floor(Math.random() * this.#lastId);
    const expected = this.#acknowledged.get(id);
    const statement = `SELECT payload FROM ${this.#table} WHERE id = $1`;
    const {rows} = await client.query<{payload: string}>(statement, [id]);
    if (expected !== undefined && rows[0]?.payload !== expected) this.#misread++;
  }

  /** One query, repeated until it is answered. */
  async #run(pool: pg.Pool, query: (client: pg.PoolClient, again: boolean) => Promise<void>): Promise<void> {
    const key = Symbol();
    const began = performance.now();
    this.#inProgress.set(key, began);
    try {
      for (let attempt = 1; !(await this.#attempt(pool, query, attempt)); attempt++);
      this.#answered++;
      this.#tenths[this.#tenth()] = (this.#tenths[this.#tenth()] ?? 0) + 1;
      if (pool === this.#pools.fresh && began > this.#tally.brokenAt) {
        this.#onAnswer?.();
        this.#onAnswer = undefined;
      }
    } catch (error) {
      if (!this.#signal.aborted) this.#failure ??= error as Error;
    } finally {
      const took = performance.now() - began;
      this.#inProgress.delete(key);
      if (took > promptly) this.#tally.waits.push(took);
      for (const watcher of this.#watchers) watcher();
    }
  }

  /** Whether it was answered. */
  async #attempt(
    pool: pg.Pool,
    query: (client: pg.PoolClient, again: boolean) => Promise<void>,
    attempt: number,
  ): Promise<boolean> {
    const began = performance.now();
    let client: pg.PoolClient | undefined;
    try {
      client = await pool.connect();
      await query(client, attempt > 1);
      client.release();
      return true;
    } catch (error) {
      client?.release(true);
      if (this.#signal.aborted || !isConnectionError(error) || attempt === maxAttempts) throw error;
      this.#count(began, client && this.#births.get(client));
      // There is no need to wait until ssh is back, the tunnel does that. What fails for no good reason shall not do it all day.
      if (attempt > 10) await sleep(50, undefined, {signal: this.#signal});
      return false;
    }
  }

  /** A query has failed: with which right? */
  #count(began: number, connected: number | undefined): void {
    const tally = this.#tally;
    if (began <= tally.brokenAt) tally.lost++;
    else if (Math.min(began, connected ?? Infinity) <= this.#readAt) tally.stale++;
    else tally.failed++;
  }

  #tenth(): number {
    return Math.floor((performance.now() - this.#began) / 100);
  }
}
