import {readdirSync, readFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {dirname, join} from 'node:path';
import ts from 'typescript';
import {expect, test} from 'vitest';

/**
 * The house and its rooms. A file imports, types too, only from rooms with a lower number. Files of one folder that have
 * the same number are one room, and may import each other as long as that makes no circle.
 *
 * Pure files have no timers, no sockets, no clock and no randomness but what is passed in; the others are the edge.
 */
const rooms: readonly {level: number; files: string; pure?: true}[] = [
  {level: 0, files: 'src/checks.ts', pure: true},
  {level: 0, files: 'src/defaults.ts', pure: true},
  {level: 0, files: 'src/errors.ts', pure: true},
  {level: 0, files: 'src/clock.ts'},
  {level: 0, files: 'src/log.ts'},
  {level: 0, files: 'src/abort.ts', pure: true},
  {level: 0, files: 'src/random.ts'},
  {level: 0, files: 'src/shortage.ts', pure: true},
  {level: 0, files: 'src/local-socket.ts'},
  {level: 0, files: 'src/procfs.ts'},
  {level: 0, files: 'src/command-line/command-line.ts', pure: true},
  {level: 0, files: 'src/command-line/long-options.ts', pure: true},
  {level: 1, files: 'src/local-port.ts'},
  {level: 1, files: 'src/state.ts', pure: true},
  {level: 1, files: 'src/waiting-list.ts', pure: true},
  {level: 1, files: 'src/ssh/forward.ts', pure: true},
  {level: 1, files: 'src/ssh/lines.ts', pure: true},
  {level: 1, files: 'src/ssh/notice.ts', pure: true},
  {level: 1, files: 'src/ssh/notice-table.ts', pure: true},
  {level: 2, files: 'src/ssh/transcript.ts', pure: true},
  {level: 1, files: 'src/ssh/verdict.ts', pure: true},
  {level: 1, files: 'src/ssh/given-text.ts', pure: true},
  {level: 1, files: 'src/ssh/key-text.ts', pure: true},
  {level: 1, files: 'src/ssh/certificate.ts', pure: true},
  {level: 1, files: 'src/ssh/wire.ts', pure: true},
  {level: 2, files: 'src/ssh/key-conversion.ts'},
  {level: 2, files: 'src/ssh/secrets.ts', pure: true},
  {level: 0, files: 'src/ssh/letters.ts', pure: true},
  {level: 1, files: 'src/ssh/raw-option.ts', pure: true},
  {level: 1, files: 'src/ssh/credential-options.ts', pure: true},
  {level: 2, files: 'src/ssh/bind-error.ts', pure: true},
  {level: 2, files: 'src/ssh/host-key.ts', pure: true},
  {level: 2, files: 'src/ssh/jump.ts', pure: true},
  {level: 2, files: 'src/front/options.ts', pure: true},
  {level: 2, files: 'src/front/url.ts', pure: true},
  {level: 2, files: 'src/heartbeat/options.ts', pure: true},
  {level: 2, files: 'src/restart/options.ts', pure: true},
  {level: 3, files: 'src/options.ts', pure: true},
  {level: 2, files: 'src/outcome.ts', pure: true},
  {level: 4, files: 'src/restart/policy.ts', pure: true},
  {level: 4, files: 'src/restart/backoff.ts', pure: true},
  {level: 4, files: 'src/ssh/arguments.ts', pure: true},
  {level: 4, files: 'src/ssh/life.ts', pure: true},
  {level: 3, files: 'src/events.ts', pure: true},
  {level: 4, files: 'src/ssh/login.ts', pure: true},
  {level: 4, files: 'src/ssh/agent.ts'},
  {level: 4, files: 'src/ssh/answers.ts'},
  {level: 4, files: 'src/ssh/asked.ts'},
  {level: 4, files: 'src/ssh/askpass.ts'},
  {level: 4, files: 'src/ssh/credentials.ts'},
  {level: 4, files: 'src/ssh/key-ring.ts'},
  {level: 4, files: 'src/ssh/ssh-add.ts'},
  {level: 4, files: 'src/ssh/marker.ts'},
  {level: 4, files: 'src/ssh/child.ts'},
  {level: 4, files: 'src/ssh/private-folder.ts'},
  {level: 4, files: 'src/ssh/program.ts'},
  {level: 4, files: 'src/ssh/vitals.ts'},
  {level: 4, files: 'src/ssh/warden.ts'},
  {level: 4, files: 'src/heartbeat/beat.ts', pure: true},
  {level: 4, files: 'src/heartbeat/evidence.ts', pure: true},
  {level: 4, files: 'src/heartbeat/*.ts'},
  {level: 4, files: 'src/front/*.ts'},
  {level: 4, files: 'src/restart/autossh-policy.ts', pure: true},
  {level: 4, files: 'src/command-line/free-monitor-port.ts'},
  {level: 4, files: 'src/command-line/options-from-command-line.ts'},
  {level: 4, files: 'src/command-line/*.ts', pure: true},
  {level: 5, files: 'src/statistics.ts', pure: true},
  {level: 5, files: 'src/session.ts'},
  {level: 6, files: 'src/provision.ts'},
  {level: 7, files: 'src/series.ts'},
  {level: 8, files: 'src/service.ts'},
  {level: 9, files: 'src/autossh.ts'},
  {level: 10, files: 'src/index.ts'},
  {level: 11, files: 'src/cli/addresses.ts', pure: true},
  {level: 11, files: 'src/cli/finding.ts', pure: true},
  {level: 11, files: 'src/cli/connection-findings.ts', pure: true},
  {level: 11, files: 'src/cli/forward-findings.ts', pure: true},
  {level: 11, files: 'src/cli/login-findings.ts', pure: true},
  {level: 11, files: 'src/cli/heartbeat-findings.ts', pure: true},
  {level: 11, files: 'src/cli/doctor-findings.ts', pure: true},
  {level: 11, files: 'src/cli/doctor-report.ts', pure: true},
  {level: 11, files: 'src/cli/display-width.ts', pure: true},
  {level: 11, files: 'src/cli/hint.ts', pure: true},
  {level: 11, files: 'src/cli/spans.ts', pure: true},
  {level: 11, files: 'src/cli/status-chart.ts', pure: true},
  {level: 11, files: 'src/cli/status-frame.ts', pure: true},
  {level: 11, files: 'src/cli/status-model.ts', pure: true},
  {level: 11, files: 'src/cli/status-words.ts', pure: true},
  {level: 11, files: 'src/cli/*.ts'},
];

/** What a pure file may take from Node: functions of their arguments. */
const pureBuiltins: Record<string, readonly string[]> = {
  'node:string_decoder': ['StringDecoder'],
  'node:util': ['inspect', 'isDeepStrictEqual', 'stripVTControlCharacters'],
  'node:net': ['isIP', 'isIPv4', 'isIPv6'],
  'node:path': ['isAbsolute'],
  'node:os': ['constants'],
};

const impure = ['performance', 'setTimeout', 'setInterval', 'setImmediate', 'crypto', 'fetch', 'WebSocket'].concat([
  'new Date()',
  'Date.now',
  'Math.random',
  'process.hrtime',
  'process.uptime',
  'AbortSignal.timeout',
]);

/** What is the host's alone: its terminal, its end, its signals, its uncaught exceptions. */
const hostsOwn = ['stdout', 'stderr', 'stdin', 'exit', 'exitCode', 'reallyExit', 'abort', 'emitWarning', 'emit', 'on']
  .concat(['once', 'addListener', 'prependListener', 'prependOnceListener', 'setUncaughtExceptionCaptureCallback'])
  .map((member) => `process.${member}`);

const files = readdirSync('src', {recursive: true, encoding: 'utf8'})
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join('src', file))
  .sort();
const sources = new Map(files.map((file) => [file, read(file)]));
const outsideTheCommand = files.filter((file) => !file.startsWith('src/cli/'));
const pureFiles = files.filter((file) => roomOf(file)?.pure);

test('every file has a place in the house', () => {
  expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
});

test('a file imports only from the levels above its own, or from its own room', () => {
  const wrong = breaches(files, (file, {from}) => {
    const [room, other] = [roomOf(file), roomOf(from)];
    if (room === undefined || other === undefined) return false;
    const sameRoom = other.level === room.level && dirname(from) === dirname(file) && dirname(file) !== 'src';
    return other.level >= room.level && !sameRoom;
  });
  expect(wrong).toEqual([]);
});

test('a file imports nothing but this package, Node and its dependencies', () => {
  const known = [...builtinModules.map((name) => `node:${name}`), ...dependencies(), ...files];
  expect(breaches(files, (_file, {from}) => !known.includes(from))).toEqual([]);
});

test('a pure file takes nothing from Node but functions of their arguments', () => {
  const wrong = breaches(pureFiles, (_file, {from, type, names}) => {
    if (type || !from.startsWith('node:')) return false;
    return names.length === 0 || names.some((name) => !pureBuiltins[from]?.includes(name));
  });
  expect(wrong).toEqual([]);
});

test('a pure file uses no clock, no timer, no randomness', () => {
  expect(uses(pureFiles, impure)).toEqual([]);
});

test('a pure file knows types at most of a file that is not', () => {
  const wrong = breaches(pureFiles, (_file, {from, type}) => !type && from.startsWith('src/') && !roomOf(from)?.pure);
  expect(wrong).toEqual([]);
});

test('the library prints nothing and leaves the process to its host', () => {
  expect(uses(outsideTheCommand, ['console', ...hostsOwn])).toEqual([]);
  const wrong = breaches(outsideTheCommand, (_file, {from}) => ['node:process', 'node:console'].includes(from));
  expect(wrong).toEqual([]);
});

test('the command knows of the library only what the package exports', () => {
  const command = files.filter((file) => file.startsWith('src/cli/'));
  const wrong = breaches(command, (_file, {from}) => /^src\/(?!index\.ts$|cli\/)/.test(from));
  expect(wrong).toEqual([]);
});

test('every single file of the table exists', () => {
  const named = rooms.map((row) => row.files).filter((name) => !name.includes('*'));
  expect(named.filter((name) => !sources.has(name))).toEqual([]);
});

test('no file imports itself in a circle', () => {
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) expect.fail([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (finished.has(file) || !sources.has(file)) return;
    for (const {from} of sourceOf(file).imports) visit(from, [...path, file]);
    finished.add(file);
  };
  for (const file of files) visit(file, []);
});

test('the entry exports by name, and only what it names', () => {
  expect(sourceOf('src/index.ts').unnamedExports).toEqual([]);
});

test('three packages are there at run time, each of them used', () => {
  const used = [...sources.values()].flatMap(({imports}) => imports.map(({from}) => from));
  const foreign = new Set(used.filter((from) => !from.startsWith('src/') && !from.startsWith('node:')));
  expect([...dependencies()].sort()).toEqual(['debug', 'eventemitter3', 'p-retry']);
  expect([...foreign].sort()).toEqual(['debug', 'eventemitter3', 'p-retry']);
});

interface Import {
  /** A file of src, or what the import says. */
  from: string;
  /** Whether nothing of it is left at run time. */
  type: boolean;
  /** The values it takes; none where it takes all, or none by name. */
  names: string[];
}

interface Source {
  imports: Import[];
  /** Every name that stands alone in an expression, every `name.member`, and `new Date()` without an argument. */
  names: Set<string>;
  /** What is exported without a name: defaults and whole modules. */
  unnamedExports: string[];
}

function roomOf(file: string): (typeof rooms)[number] | undefined {
  return (
    rooms.find((row) => row.files === file) ??
    rooms.find((row) => row.files.endsWith('/*.ts') && dirname(row.files) === dirname(file))
  );
}

/** The imports that break a rule, each as a sentence. */
function breaches(which: readonly string[], breaks: (file: string, one: Import) => boolean): string[] {
  return which.flatMap((file) => {
    const wrong = sourceOf(file).imports.filter((one) => breaks(file, one));
    return wrong.map(({from, names}) => `${file} imports ${names.join(', ') || '*'} from ${from}`);
  });
}

function uses(which: readonly string[], forbidden: readonly string[]): string[] {
  return which.flatMap((file) => {
    const used = forbidden.filter((name) => sourceOf(file).names.has(name));
    return used.map((name) => `${file} uses ${name}`);
  });
}

function sourceOf(file: string): Source {
  const source = sources.get(file);
  if (source === undefined) throw new Error(`there is no ${file}`);
  return source;
}

function dependencies(): string[] {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;
  return ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
}

function read(file: string): Source {
  const source: Source = {imports: [], names: new Set(), unnamedExports: []};
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      const named = bindings && ts.isNamedImports(bindings) ? bindings.elements : [];
      const values = named.filter((element) => !element.isTypeOnly);
      const onlyTypes = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      const type = onlyTypes || (named.length > 0 && values.length === 0 && !node.importClause?.name);
      add(node.moduleSpecifier, type, node.importClause?.name ? [] : values);
      return;
    }
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
      const named = node.exportClause && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : [];
      add(node.moduleSpecifier, node.isTypeOnly || named.every((one) => one.isTypeOnly), named);
      if (!node.exportClause) source.unnamedExports.push(node.getText());
    }
    if (ts.isExportAssignment(node)) source.unnamedExports.push(node.getText());
    if (node.kind === ts.SyntaxKind.DefaultKeyword && !ts.isDefaultClause(node.parent)) {
      source.unnamedExports.push(node.parent.getText());
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true, []);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false, []);
    }
    if (ts.isPropertyAccessExpression(node)) source.names.add(node.getText().replace(/^globalThis\.|\?/g, ''));
    if (ts.isNewExpression(node) && /^new Date(\(\))?$/.test(node.getText())) source.names.add('new Date()');
    if (ts.isIdentifier(node) && standsAlone(node)) source.names.add(node.text);
    ts.forEachChild(node, visit);
  };
  const add = (specifier: ts.Node | undefined, type: boolean, elements: readonly ts.ImportOrExportSpecifier[]) => {
    if (!specifier || !ts.isStringLiteral(specifier)) throw new Error(`${file} imports what only running it can tell`);
    const {text} = specifier;
    const from = text.startsWith('.') ? join(dirname(file), text).replace(/\.js$/, '.ts') : text;
    const names = elements.filter((one) => !one.isTypeOnly).map((one) => (one.propertyName ?? one.name).text);
    source.imports.push({from, type, names});
  };
  visit(ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2023, true));
  return source;
}

/** Whether a name is not just the name of a member, a property or a type. */
function standsAlone(node: ts.Identifier): boolean {
  const {parent} = node;
  if (ts.isPropertyAccessExpression(parent)) {
    return parent.expression === node || parent.expression.getText() === 'globalThis';
  }
  return !ts.isTypeReferenceNode(parent) && !ts.isQualifiedName(parent) && !(isNamed(parent) && parent.name === node);
}

function isNamed(node: ts.Node): node is ts.Node & {name: ts.Node} {
  return 'name' in node && !ts.isShorthandPropertyAssignment(node);
}
