/** Breaks things, listens to what the tunnel says of it, and writes it down. */
import type {AutoSSH} from 'node-autossh';
import type {Fault, Scenery} from './faults.js';
import type {Screen} from './screen.js';
import {
  backLine,
  brokenLine,
  finishedLines,
  noticedLine,
  returnedLine,
  queriesLine,
  servedLine,
  stepLine,
  upLine,
  type FaultReport,
  type Line,
  type Scene,
} from './timeline.js';
import type {Workload} from './workload.js';

/** A tunnel that is not back after this time will not be. */
const patience = 30_000;

export class Story {
  readonly reports: FaultReport[] = [];
  readonly #tunnel: AutoSSH;
  readonly #scenery: Omit<Scenery, 'onReturn'>;
  readonly #screen: Screen;
  readonly #signal: AbortSignal;
  /** So many ssh are ready when all is well. */
  readonly #wanted: number;
  readonly #beats: (number | undefined)[] = [];
  #upSince = performance.now();
  #fault: FaultReport | undefined;
  #starts = 0;
  #ready = 0;
  /** So many have to end yet before the fault has shown all that it does. */
  #doomed = 0;
  #onUp: () => void = () => undefined;
  #onWhole: () => void = () => undefined;

  /** Listens from now on, so make it before the tunnel is started. */
  constructor(scenery: Omit<Scenery, 'onReturn'>, screen: Screen, wanted: number) {
    this.#tunnel = scenery.tunnel;
    this.#scenery = scenery;
    this.#screen = screen;
    this.#signal = scenery.signal;
    this.#wanted = wanted;
    this.#listen();
  }

  /** Resolves when as many ssh are ready as there shall be. */
  async whole(): Promise<void> {
    await this.#patiently(
      new Promise<void>((resolve) => {
        this.#onWhole = resolve;
        this.#look();
      }),
    );
  }

  /** All that a program has to do to know how its tunnel is. */
  #listen(): void {
    this.#tunnel
      .on('heartbeat', ({rtt}) => {
        this.#beats.push(rtt);
      })
      .on('heartbeat-miss', ({waited, reason}) => {
        this.#beats.push(undefined);
        const why = reason === 'timeout' ? 'no answer' : 'its channel is closed';
        this.#notice('heartbeat-miss', `${why} for ${Math.round(waited)} ms`);
      })
      .on('disconnect', ({outcome}) => {
        if (outcome.reason !== 'requested') this.#notice('disconnect', outcome.message);
        this.#ready--;
        this.#doomed--;
        this.#look();
      })
      .on('start', () => {
        this.#starts++;
      })
      .on('connect', ({pid}) => {
        this.#upSince = performance.now();
        this.#ready++;
        this.#rise(pid);
        this.#look();
      })
      .on('warning', ({code, message}) => {
        this.#screen.print(stepLine(performance.now(), 'warning', `${code}: ${message}`));
      });
  }

  /** One fault, from the break to the moment when no query waits for it any more and the tunnel is as it was before. */
  async play(fault: Fault, workload: Workload, number: number, of: number): Promise<void> {
    const scenery: Scenery = {
      ...this.#scenery,
      onReturn: () => {
        this.#return();
      },
    };
    await fault.prepare?.(scenery);
    const {title, isGentle = false} = fault;
    const how = fault.how(scenery);
    const up = new Promise<void>((resolve) => (this.#onUp = resolve));
    this.#starts = 0;
    this.#doomed = fault.hits === 'every one' ? this.#wanted : 1;
    // In this order, and nothing between: to find out what to break takes time, and no query begins in it.
    const inflicted = fault.inflict(scenery);
    const queries = workload.beginTally(() => {
      this.#answer();
    });
    const report: FaultReport = {number, of, title, how, isGentle, brokenAt: queries.brokenAt, queries};
    this.#fault = report;
    this.reports.push(report);
    this.#tell(brokenLine(report));

    try {
      await this.#patiently(Promise.all([inflicted, up]));
      await this.#patiently(workload.settled(performance.now()));
      report.servedAfter = performance.now() - report.brokenAt;
      await this.whole();
      // What was lost in the meantime is part of this account.
      await this.#patiently(workload.settled(performance.now()));
    } finally {
      this.#fault = undefined;
      report.queries = {...queries, waits: [...queries.waits]};
      if (report.servedAfter !== undefined) this.#tell(servedLine(report));
      this.#tell(queriesLine(report));
      if (this.#screen.isLive && !this.#signal.aborted)
        this.#screen.print(...finishedLines(report, this.#screen.width));
    }
    fault.tidy?.(scenery);
  }

  /** The present. */
  scene(workload: Workload, route: string, next: readonly string[]): Scene {
    const now = performance.now();
    return {
      now,
      state: this.#tunnel.state,
      pid: this.#tunnel.pid,
      uptime: now - this.#upSince,
      route,
      beats: this.#beats,
      answered: workload.pulse,
      usual: workload.usual,
      waiting: workload.waiting,
      fault: this.#fault,
      next,
    };
  }

  #notice(event: string, why: string): void {
    if (!this.#fault) {
      this.#screen.print(stepLine(performance.now(), 'unplanned', `${event}: ${why}`));
    } else if (!this.#fault.noticed) {
      this.#fault.noticed = {after: performance.now() - this.#fault.brokenAt, event, why};
      this.#tell(noticedLine(this.#fault));
    }
  }

  #return(): void {
    if (!this.#fault) return;
    this.#fault.returnedAfter = performance.now() - this.#fault.brokenAt;
    this.#tell(returnedLine(this.#fault));
  }

  #answer(): void {
    if (!this.#fault) return;
    this.#fault.backAfter = performance.now() - this.#fault.brokenAt;
    this.#tell(backLine(this.#fault));
  }

  #look(): void {
    if (this.#doomed <= 0 && this.#ready >= this.#wanted) this.#onWhole();
  }

  #rise(pid: number): void {
    if (!this.#fault || this.#fault.up) return;
    const attempts = this.#starts > 1 ? `, after ${this.#starts} attempts` : '';
    this.#fault.up = {after: performance.now() - this.#fault.brokenAt, how: `ssh ${pid}${attempts}`};
    this.#tell(upLine(this.#fault));
    this.#onUp();
  }

  /** As it happens, where nothing moves; on a terminal the lane shows it and finishedLines sums it up. */
  #tell(line: Line): void {
    if (!this.#screen.isLive) this.#screen.print(line);
  }

  async #patiently<T>(work: Promise<T>): Promise<T> {
    const limit = AbortSignal.any([this.#signal, AbortSignal.timeout(patience)]);
    const over = new Promise<never>((_resolve, reject) => {
      limit.addEventListener('abort', () => {
        reject(
          this.#signal.aborted ? (this.#signal.reason as Error) : new Error(`not up again after ${patience / 1000} s`),
        );
      });
    });
    return Promise.race([work, over]);
  }
}
