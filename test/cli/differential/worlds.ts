import {once} from 'node:events';
import {readFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {alive, findProgram, listeningPorts, Namespaces, pollUntil, PrivateSshd, signal} from '../../support/index.js';
import {begun, theEnd, type Lifetime, type Step} from './lifetime.js';
import {Run, type Observed, type Program} from './programs.js';

/** What is seen of a lifetime: what every run shows, and what it was told to look at. */
export interface Lived extends Observed {
  readonly seen: readonly string[];
}

/** One program lives this life, with everything there has to be beside it. */
export async function live(program: Program, lifetime: Lifetime): Promise<Lived> {
  const {beside = [], steps = [], within = 30} = lifetime;
  const ends: (() => unknown)[] = [];
  try {
    const far = beside.includes('sshd') ? await farServer(ends) : undefined;
    const where = far?.namespaces.enter(far.namespaces.client) ?? [];
    const run = await Run.start({command: [...where, ...program.command]}, lifetime, async (port) => {
      if (beside.includes('stranger')) await listen(port + 1, ends);
      if (far !== undefined && beside.includes('echo')) await serveEcho(far.namespaces, port + 2, ends);
      return {'{configuration}': far?.sshd.configFile ?? '/dev/null'};
    });
    ends.push(() => run.end());
    const seen: string[] = [];
    for (const step of steps) {
      if (!(await came(run, step, within * 1_000))) break;
      if ('send' in step) await send(step.send, step.to === 'ssh' ? run.ssh : run.pid);
      else if ('look' in step) seen.push(run.read(step.look).replace(String(run.pid), 'its process id'));
      else if (step.server === 'ends') await far?.sshd.halt();
      else await far?.sshd.killSessions();
    }
    return {...(await run.observe({within: within * 1_000})), seen};
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** Whether the moment of this step comes before the end. */
async function came(run: Run, {at, times = 1}: Step, timeout: number): Promise<boolean> {
  const isThere = (): boolean =>
    at === theEnd
      ? run.hasEnded
      : run.log.filter((line) => line === at).length >= times && (at !== begun || run.starts.length >= times);
  await pollUntil(at, () => isThere() || run.hasEnded, {timeout}).catch(() => undefined);
  return isThere();
}

/**
 * For a moment after each of its lines, and after each signal, 1.4g takes a signal in another way than it does later: it
 * shall be back to waiting first.
 */
async function send(name: NodeJS.Signals, pid: number): Promise<void> {
  await pollUntil(`process ${pid} at rest`, () => !alive(pid) || isAtRest(pid));
  signal(pid, name);
}

/** Asleep, and no signal is on its way. */
function isAtRest(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^State:\t[ST]/m.test(status) && !/^(SigPnd|ShdPnd):\t0*[1-9a-f]/m.test(status);
  } catch {
    return false;
  }
}

interface FarServer {
  readonly namespaces: Namespaces;
  readonly sshd: PrivateSshd;
}

/**
 * On another host: on its own, the server could not listen at the port of the loop, where its client does already, and a
 * loop would go round for ever.
 */
async function farServer(ends: (() => unknown)[]): Promise<FarServer> {
  const namespaces = await Namespaces.create();
  ends.push(() => namespaces.close());
  const {server} = namespaces;
  const sshd = await PrivateSshd.start({listenAddress: server.address, wrapper: namespaces.enter(server)});
  ends.push(() => sshd.stop());
  return {namespaces, sshd};
}

async function listen(port: number, ends: (() => unknown)[]): Promise<void> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => server.close());
}

/** socat's: what answers is nothing of ours. */
async function serveEcho(namespaces: Namespaces, port: number, ends: (() => unknown)[]): Promise<void> {
  const service = [`TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`, 'EXEC:cat'];
  const socat = namespaces.spawn(namespaces.server, [findProgram('socat') ?? 'socat', ...service], {stdio: 'ignore'});
  ends.push(() => socat.kill('SIGKILL'));
  await pollUntil('an echo service', () => listeningPorts(socat.pid).some((listener) => listener.port === port));
}
