/** Breaks things, listens to what the tunnel says of it, and writes it down. */
import type {AutoSSH} from 'node-autossh';
import type {PrivateSshd} from '../../test/support/sshd.js';
import type {Fault, Scenery} from './faults.js';
import type {Screen} from './screen.js';
import {
  brokenLine,
  finishedLines,
  noticedLine,
  returnedLine,
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
  readonly #sshd: PrivateSshd;
  readonly #workload: Workload;
  readonly #screen: Screen;
  readonly #signal: AbortSignal;
  readonly #beats: (number | undefined)[] = [];
  #upSince = performance.now();
  #fault: FaultReport | undefined;
  #starts = 0;
  #onUp: () => void = () => undefined;

  constructor(tunnel: AutoSSH, sshd: PrivateSshd, workload: Workload, screen: Screen, signal: AbortSignal) {
    this.#tunnel = tunnel;
    this.#sshd = sshd;
    this.#workload = workload;
    this.#screen = screen;
    this.#signal = signal;
    this.#listen();
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
      })
      .on('start', () => {
        this.#starts++;
      })
      .on('connect', ({pid}) => {
        this.#upSince = performance.now();
        this.#rise(pid);
      })
      .on('warning', ({code, message}) => {
        this.#screen.print(stepLine(performance.now(), 'warning', `${code}: ${message}`));
      });
  }

  /** One fault, from the break to the moment when no query waits for it any more. */
  async play(fault: Fault, number: number, of: number): Promise<void> {
    const queries = this.#workload.beginTally();
    const up = new Promise<void>((resolve) => (this.#onUp = resolve));
    const scenery: Scenery = {
      tunnel: this.#tunnel,
      sshd: this.#sshd,
      signal: this.#signal,
      onReturn: () => {
        this.#return();
      },
    };
    const how = fault.how(scenery);
    const report: FaultReport = {number, of, title: fault.title, how, brokenAt: performance.now(), queries};
    this.#starts = 0;
    this.#fault = report;
    this.reports.push(report);
    this.#tell(brokenLine(report));

    try {
      await this.#patiently(Promise.all([fault.inflict(scenery), up]));
      await this.#patiently(this.#workload.settled(performance.now()));
      report.servedAfter = performance.now() - report.brokenAt;
      this.#tell(servedLine(report));
    } finally {
      report.queries = {...queries};
      this.#fault = undefined;
      if (this.#screen.isLive && !this.#signal.aborted)
        this.#screen.print(...finishedLines(report, this.#screen.width));
    }
    fault.tidy?.(scenery);
  }

  /** The present. */
  scene(route: string, next: readonly string[]): Scene {
    const now = performance.now();
    return {
      now,
      state: this.#tunnel.state,
      pid: this.#tunnel.pid,
      uptime: now - this.#upSince,
      route,
      beats: this.#beats,
      answered: this.#workload.pulse,
      usual: this.#workload.usual,
      waiting: this.#workload.waiting,
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

  #rise(pid: number): void {
    if (!this.#fault) return;
    const attempts = this.#starts > 1 ? `, after ${this.#starts} attempts` : '';
    this.#fault.up = {after: performance.now() - this.#fault.brokenAt, how: `ssh ${pid}, same local port${attempts}`};
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
