/** Starts the PostgreSQL of postgres-server.ts and ends it. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {createRequire} from 'node:module';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';

/** What `pg` wants to know to connect. */
export interface PostgresAddress {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface Postgres extends AsyncDisposable {
  readonly address: PostgresAddress;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

export async function startPostgres(): Promise<Postgres> {
  const program = fileURLToPath(new URL('./postgres-server.ts', import.meta.url));
  const loader = createRequire(import.meta.url).resolve('tsx');
  const child = spawn(process.execPath, ['--import', loader, program], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true, // its own process group: a Ctrl-C is for the program that owns it
  });
  const complaint: string[] = [];
  createInterface(child.stderr).on('line', (line) => complaint.push(line));
  const exited = once(child, 'exit');

  const line = await new Promise<string | undefined>((resolve) => {
    const lines = createInterface(child.stdout);
    lines.once('line', resolve);
    lines.once('close', () => {
      resolve(undefined);
    });
  });
  if (line === undefined) {
    await exited;
    throw new Error(`PostgreSQL did not start: ${complaint.join(' / ')}`);
  }

  const stop = async (): Promise<void> => {
    child.stdin.end();
    if (child.exitCode === null && child.signalCode === null) await exited;
  };
  return {address: JSON.parse(line) as PostgresAddress, stop, [Symbol.asyncDispose]: stop};
}
