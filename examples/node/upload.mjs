// Uploads a file to sealane: resumed after whatever fails, committed once. docs/grpc.md says the same in words.
//
//   node upload.mjs FILE [--ingest HOST:PORT] [--assembly HOST:PORT] [--streams N] [--ca-file PEM] [--token-file FILE]
//                        [--key KEY [--if-generation N | --overwrite]]
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { createBLAKE3 } from 'hash-wasm';

const FRAME = 1024 * 1024; // bytes of data in one message, at most
const PER_STREAM = 16; // chunks: the answer comes at a stream's end, so let that be soon
const TRIES = 100; // without progress, a quarter of an hour or so: give up. The same command goes on where it was

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ingest: { type: 'string', default: '127.0.0.1:7301' },
    assembly: { type: 'string', default: '127.0.0.1:7302' },
    streams: { type: 'string', default: '4' },
    key: { type: 'string', default: '' },
    'if-generation': { type: 'string' },
    overwrite: { type: 'boolean', default: false },
    'ca-file': { type: 'string' },
    'token-file': { type: 'string' },
  },
});

// ---- the wire

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const files = ['ingest_service', 'assembly_service', 'errors'].map((name) => `sealane/v1/${name}.proto`);
// All at once, so that an Any in a status becomes the message that it is.
const proto = loader.loadSync([...files, 'google_rpc.proto'], {
  includeDirs: [here('../../protos'), here('.')],
  ...{ keepCase: true, longs: String, enums: String, bytes: Buffer, json: true },
});
const { IngestService, AssemblyService } = grpc.loadPackageDefinition(proto).sealane.v1;

function connect(Service, target) {
  const ca = options['ca-file'];
  return new Service(target, ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1, // a connection of its own: grpc-js would share one
    'grpc.service_config': '{"loadBalancingConfig": [{"round_robin": {}}]}', // over all addresses behind a name
    'grpc.keepalive_time_ms': 30_000, // to notice who vanished; oftener than every 20 s is too_many_pings
  });
}

function metadata() {
  const token = options['token-file']; // read for every call: it may have been renewed
  return grpc.Metadata.fromHttp2Headers(token ? { authorization: `Bearer ${readFileSync(token, 'utf8').trim()}` } : {});
}

const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });
const settle = (resolve, reject) => (error, answer) => (error ? reject(error) : resolve(answer));

// What an error's google.rpc.Status says. One without is gRPC's own, and has no reason.
function explain(error) {
  const status = error.metadata?.get('grpc-status-details-bin')[0];
  const details = status ? proto['google.rpc.Status'].deserialize(status).details : [];
  const detail = (type) => details.find((each) => each['@type']?.endsWith(`/${type}`));
  const { seconds = 0, nanos = 0 } = detail('google.rpc.RetryInfo')?.retry_delay ?? {};
  return {
    reason: detail('google.rpc.ErrorInfo')?.reason ?? '',
    delay: Number(seconds) * 1000 + nanos / 1e6,
    chunks: detail('sealane.v1.ChunkErrorDetail')?.chunks.map((chunk) => Number(chunk.chunk_index)) ?? [],
  };
}

// ---- trying again

const PASSING = 'OVERLOADED DRAINING STORE_UNAVAILABLE PEER_UNAVAILABLE OUTCOME_UNKNOWN DEADLINE_EXCEEDED'.split(' ');
const OWN = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.CANCELLED];

function passes(error, failures) {
  const { reason } = explain(error);
  if (reason) return failures < TRIES && (PASSING.includes(reason) || (reason === 'CHUNK_CORRUPT' && failures < 5));
  return failures < TRIES && (OWN.includes(error.code) || error.details?.includes('RST_STREAM') === true);
}

// Waits before the next try, longer with each that failed since something got through.
async function pause(error, failures) {
  const { reason, delay } = explain(error);
  if (!passes(error, failures)) throw error;
  console.error(`${reason || grpc.status[error.code]}: ${error.details}`);
  await sleep(delay + Math.random() * Math.min(15_000, 100 * 2 ** failures));
}

async function ask(client, method, request) {
  for (let failures = 0; ; failures++) {
    try {
      return await new Promise((yes, no) => client[method](request, metadata(), within(60), settle(yes, no)));
    } catch (error) {
      await pause(error, failures);
    }
  }
}

// ---- the object: { id, file, size, chunkSize, count }

async function readChunk({ file, size, chunkSize }, index) {
  const buffer = Buffer.allocUnsafe(Math.min(chunkSize, size - index * chunkSize));
  for (let at = 0; at < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, at, buffer.length - at, index * chunkSize + at);
    if (!bytesRead) throw new Error('the file has become shorter');
    at += bytesRead;
  }
  return buffer;
}

async function wholeDigest(object) {
  const hash = await createBLAKE3();
  for (let index = 0; index < object.count; index++) hash.update(await readChunk(object, index));
  return Buffer.from(hash.digest('binary'));
}

// The request id is made of what is uploaded, so the same command finds its session again: that is all of the resuming.
async function session(ingest, path, file) {
  const { size, mtimeMs } = await file.stat();
  const { key, overwrite, 'if-generation': generation } = options;
  const choice = key ? { object_key: key, overwrite, if_generation_match: generation } : {};
  const id = createHash('sha256').update(JSON.stringify([await realpath(path), size, mtimeMs, choice])).digest('hex');
  for (let attempt = 1; ; attempt++) {
    try {
      const request = { request_id: `${id}-${attempt}`, filename: basename(path), size, ...choice };
      const { session } = await ask(ingest, 'CreateSession', request);
      if ((session.chosen_key ?? '') !== key) throw new Error('this server knows no keys of your own choice');
      if (/ABORTED|EXPIRED|LOST|DELETED/.test(session.state)) continue;
      return { id: session.session_id, file, size, chunkSize: +session.chunk_size, count: +session.chunk_count };
    } catch (error) {
      if (explain(error).reason !== 'REQUEST_ID_USED') throw error;
    }
  }
}

// One stream. If it returns, its chunks are stored; if it throws, GetSession knows which of them are.
async function send(client, object, indexes) {
  const hash = await createBLAKE3();
  let stream;
  const answer = new Promise((yes, no) => (stream = client.UploadChunks(metadata(), within(3600), settle(yes, no))));
  answer.catch(() => {}); // it may come while a chunk is being read; the next write, or the end, meets it
  const write = async (message) => stream.write(message) || (await Promise.race([once(stream, 'drain'), answer]));
  try {
    await write({ header: { session_id: object.id } });
    for (const index of indexes) {
      const chunk = await readChunk(object, index);
      for (let offset = 0; offset < chunk.length; offset += FRAME) {
        const last = offset + FRAME >= chunk.length; // its digest ends the chunk
        const blake3 = last ? Buffer.from(hash.init().update(chunk).digest('binary')) : undefined;
        await write({ frame: { chunk_index: index, offset, data: chunk.subarray(offset, offset + FRAME), blake3 } });
      }
    }
    stream.end();
    return await answer;
  } catch (error) {
    stream.cancel();
    throw error;
  }
}

// Sends what the coverage lacks, until it lacks nothing. Why a session is not OPEN, CommitSession says.
async function fill(lanes, object) {
  for (let failures = 0, stored = 0; ; ) {
    const { session } = await ask(lanes[0], 'GetSession', { session_id: object.id });
    if (session.state !== 'SESSION_STATE_OPEN' || session.coverage.complete) return;
    if (Number(session.coverage.stored_chunks) > stored) failures = 0;
    stored = Number(session.coverage.stored_chunks);
    console.error(`${stored} of ${object.count} chunks are stored`);
    const missing = session.coverage.missing_ranges.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, i) => Number(first) + i),
    );
    const each = Math.min(PER_STREAM, Math.ceil(missing.length / lanes.length));
    const lane = async (client) => {
      while (missing.length) await send(client, object, missing.splice(0, each));
    };
    const failed = (await Promise.allSettled(lanes.map(lane))).flatMap(({ reason }) => reason ?? []);
    if (failed.length) await pause(failed.find((error) => !passes(error, failures)) ?? failed[0], failures++);
  }
}

async function commit(assembly, lanes, object, blake3) {
  for (const request = { session_id: object.id, chunk_count: object.count, size: object.size, blake3 }; ; ) {
    try {
      return (await ask(assembly, 'CommitSession', request)).committed_object;
    } catch (error) {
      const { reason, chunks } = explain(error);
      if (reason === 'CHUNK_NEEDED') await send(lanes[0], object, chunks);
      else if (reason === 'COVERAGE_INCOMPLETE') await fill(lanes, object);
      else {
        // The key has another generation: what was stored for it is of no use, so free it.
        if (reason === 'GENERATION_MISMATCH') await ask(assembly, 'AbortSession', { session_id: object.id });
        throw error;
      }
    }
  }
}

try {
  if (positionals.length !== 1) throw new Error('give one FILE; the options are at the top of this program');
  const lanes = Array.from({ length: Number(options.streams) }, () => connect(IngestService, options.ingest));
  const file = await open(positionals[0]);
  const object = await session(lanes[0], positionals[0], file);
  console.error(`session ${object.id}`);
  const [blake3] = await Promise.all([wholeDigest(object), fill(lanes, object)]);
  const done = await commit(connect(AssemblyService, options.assembly), lanes, object, blake3);
  console.log(JSON.stringify({ ...done, blake3: done.blake3.toString('hex') }));
  process.exit(0);
} catch (error) {
  console.error(`failed: ${explain(error).reason} ${error.details ?? error.message}`);
  process.exit(1);
}
