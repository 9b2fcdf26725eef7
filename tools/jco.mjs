// What tools/wasi-cc and tools/wasi-run need of jco, without the start-up time of its command line (0.4 s and more):
//
//   node jco.mjs new JCO CORE.wasm COMPONENT.wasm      wraps a core module
//   node jco.mjs run JCO [--env=K=V] [--dir=HOST::GUEST] -- COMPONENT.wasm ARGUMENT...
//
// JCO is the folder with its node_modules. `run` transpiles a component to JavaScript once and keeps that in JCO/cache,
// by the hash of the component: jco's own `run` does it each time. The environment and the file system are what the
// options say, as under wasmtime, and not the host's, as under jco's `run`. Sockets and name look-up are allowed.
import { createHash } from 'node:crypto';
import {
  mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

const EXIT_TRAP = 134; // what wasmtime exits with
const CACHE_ENTRIES = 200;
const LAYER_COMPONENT = 1; // the seventh byte of a component; a core module has 0

const [verb, jco, ...rest] = process.argv.slice(2);
const { resolve: find } = createRequire(join(jco, 'package.json'));
const load = (name) => import(pathToFileURL(find(`@bytecodealliance/${name}`)).href);

async function wrap(core, component) {
  const { componentNew } = await load('jco-transpile/wasm-tools');
  writeFileSync(component, await componentNew(readFileSync(core), []), { mode: 0o777 });
}

// Returns the path of the component's JavaScript.
async function transpiled(path) {
  const component = readFileSync(path);
  if (component[6] !== LAYER_COMPONENT) throw new Error(`${path} is no component; jco runs nothing else`);
  const hash = createHash('sha256').update(readFileSync(join(jco, 'version'))).update(component).digest('hex');
  const cache = join(jco, 'cache'); // inside, so that the imports in the output find node_modules
  const entry = join(cache, hash);
  const main = join(entry, 'component.js');
  try {
    utimesSync(entry, new Date(), new Date());
    return main;
  } catch {
    // not there yet
  }
  const { transpileBytes } = await load('jco-transpile');
  const { files } = await transpileBytes(component, { name: 'component', emitTypescriptDeclarations: false });
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, '.new-'));
  writeFileSync(join(scratch, 'package.json'), '{ "type": "module" }\n');
  for (const [name, bytes] of Object.entries(files)) {
    const file = resolve(scratch, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
  try {
    renameSync(scratch, entry);
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true });
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // else another run was first
  }
  forgetOldest(cache);
  return main;
}

function forgetOldest(cache) {
  const age = (name) => statSync(join(cache, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const entries = readdirSync(cache).filter((name) => !name.startsWith('.'));
  if (entries.length <= CACHE_ENTRIES) return;
  const byAge = entries.map((name) => [age(name), name]).sort(([a], [b]) => a - b);
  for (const [, name] of byAge.slice(0, entries.length - CACHE_ENTRIES)) {
    rmSync(join(cache, name), { recursive: true, force: true });
  }
}

async function run(options, [path, ...programArguments]) {
  const environment = {};
  const preopens = {};
  for (const option of options) {
    const [, name, value] = option.match(/^--(env|dir)=(.*)$/s);
    if (name === 'env') {
      const equals = value.indexOf('=');
      environment[value.slice(0, equals)] = value.slice(equals + 1);
    } else {
      const [host, guest] = value.split('::');
      preopens[guest] = resolve(host);
    }
  }
  const main = await transpiled(path);
  const [{ _setArgs, _setEnv, _setCwd }, { _setPreopens }] =
    await Promise.all([load('preview2-shim/cli'), load('preview2-shim/filesystem')]);
  _setArgs([basename(path), ...programArguments]);
  _setEnv(environment);
  _setCwd(undefined);
  _setPreopens(preopens);
  // The program runs without ever going back to Node's event loop, which alone would write what a full pipe did not take.
  for (const stream of [process.stdout, process.stderr]) {
    stream._handle?.setBlocking?.(true);
  }
  const component = await import(pathToFileURL(main).href);
  if (!component.run) {
    throw new Error(`${path} exports no wasi:cli/run: it is no command`);
  }
  try {
    component.run.run();
  } catch (error) {
    if (error === undefined) return 1; // the program's own word that it failed: run's result has no payload
    console.error(error);
    return EXIT_TRAP;
  }
  return 0;
}

try {
  if (verb === 'new') {
    await wrap(...rest);
  } else if (verb === 'run') {
    const dashes = rest.indexOf('--');
    process.exit(await run(rest.slice(0, dashes), rest.slice(dashes + 1))); // the shim's worker would keep us alive
  } else {
    throw new Error(`no such verb: ${verb}`);
  }
} catch (error) {
  console.error(`jco: ${error.message ?? error}`);
  process.exit(1);
}
