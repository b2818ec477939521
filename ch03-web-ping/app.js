// web-ping: asks a web site again and again whether it is there, as ping does with a machine.
// Settings are environment variables, so that one image serves every target:
//   TARGET    host name (https is meant), or an http:// or https:// address
//   METHOD    HTTP method, e.g. HEAD
//   INTERVAL  milliseconds from the start of one request to the start of the next
//   COUNT     how many requests; 0, the default, is for ever
//   TIMEOUT   milliseconds until a request counts as failed; default 10000
'use strict';

const dns = require('node:dns');
const http = require('node:http');
const https = require('node:https');

/** A setting that makes no sense; the message names the variable and says what it takes. */
class BadSetting extends Error {}

/**
 * Read the settings.
 * @param {object} env the environment, e.g. process.env
 * @returns {{url: URL, method: string, interval: number, count: number, timeout: number}}
 * @throws {BadSetting}
 */
function settings(env) {
  const text = (name, fallback) => {
    const value = env[name]?.trim() || fallback;
    if (value === undefined) throw new BadSetting(`${name} is not set`);
    return value;
  };
  const number = (name, least, fallback) => {
    const value = text(name, fallback);
    // 2147483647 ms is the longest a Node timer can wait (nodejs.org/api/timers.html).
    if (!/^\d{1,10}$/.test(value) || Number(value) < least || Number(value) > 2147483647) {
      throw new BadSetting(`${name} must be a whole number from ${least} to 2147483647, not "${printable(value)}"`);
    }
    return Number(value);
  };

  const target = text('TARGET');
  let url;
  try {
    url = new URL(target.includes('://') ? target : `https://${target}/`);
  } catch { /* url stays undefined */ }
  if (!url?.hostname || !['http:', 'https:'].includes(url.protocol)) {
    throw new BadSetting(`TARGET must be a host name or an http(s) address, not "${printable(target)}"`);
  }
  const method = text('METHOD').toUpperCase();
  // CONNECT asks a proxy for a tunnel; it has no answer to wait for.
  if (!http.METHODS.includes(method) || method === 'CONNECT') {
    throw new BadSetting(`METHOD must be an HTTP method such as HEAD or GET, not "${printable(method)}"`);
  }
  return {
    url, method,
    interval: number('INTERVAL', 1),
    count: number('COUNT', 0, '0'),
    timeout: number('TIMEOUT', 1, '10000'),
  };
}

/** What came from outside may hold control characters, which could forge or hide log lines. */
function printable(text) {
  return text.replace(/[^\x20-\x7e]/g, '?');
}

const REASONS = {
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name server does not answer',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection closed before the answer',
  EPIPE: 'connection closed before the answer',
  EHOSTUNREACH: 'no way to the host',
  ENETUNREACH: 'no network',
  ETIMEDOUT: 'connection timed out',
};

/** Say in a few words why a request failed. */
function reason(error) {
  const code = error.code ?? error.name;
  if (code === 'WEB_PING_TIMEOUT') return error.message;
  if (code.startsWith('HPE_')) return `the answer is not HTTP (${code})`;
  if (/CERT|SIGNATURE|ISSUER|CHAIN|CA_/.test(code)) return `certificate not accepted (${code})`;
  return `${REASONS[code] ?? printable(error.message)} (${code})`;
}

// The system's name look-up can't be cancelled. With a dead name server every request would leave one
// behind, so the next request joins the one that is under way.
let lookingUp = null;
function lookup(host, options, done) {
  lookingUp ??= dns.promises.lookup(host, { ...options, all: true }).finally(() => { lookingUp = null; });
  lookingUp.then(
    (found) => (options.all ? done(null, found) : done(null, found[0].address, found[0].family)),
    done,
  );
}

/**
 * Make one request and read its answer to the end. Redirects are reported, not followed.
 * @returns {Promise<{ok: boolean, text: string, ms: number}>} never rejects: a failure is an outcome
 */
function ping({ url, method, timeout }) {
  return new Promise((resolve) => {
    const start = process.hrtime.bigint();
    const finish = (ok, text) => {
      clearTimeout(timer);
      const ms = Math.round(Number(process.hrtime.bigint() - start) / 1e6);
      resolve({ ok, text, ms });
    };
    // agent: false is a connection of its own for each request, so that each one tests the whole way.
    const request = (url.protocol === 'http:' ? http : https).request(url, { method, agent: false, lookup });
    const timer = setTimeout(() => {
      request.destroy(Object.assign(new Error(`no answer within ${timeout} ms`), { code: 'WEB_PING_TIMEOUT' }));
    }, timeout);
    request.on('error', (error) => finish(false, reason(error)));
    request.on('upgrade', (answer, socket) => {
      socket.destroy();
      finish(true, `${answer.statusCode} ${printable(answer.statusMessage)}`);
    });
    request.on('response', (answer) => {
      let text = `${answer.statusCode} ${printable(answer.statusMessage)}`.trimEnd();
      if (answer.headers.location) text += ` -> ${printable(answer.headers.location)}, not followed`;
      answer.on('error', (error) => finish(false, reason(error)));
      answer.on('end', () => finish(true, text));
      answer.resume(); // the body is read, or the connection would stay open, but not kept
    });
    request.end();
  });
}

/** Counts outcomes; its size does not grow with their number. */
class Statistics {
  sent = 0; answered = 0; failed = 0;
  #least = Infinity; #most = 0; #sum = 0;

  add({ ok, ms }) {
    if (!ok) { this.failed += 1; return; }
    this.answered += 1;
    this.#least = Math.min(this.#least, ms);
    this.#most = Math.max(this.#most, ms);
    this.#sum += ms;
  }

  /** The closing lines, in the manner of ping. */
  report(host) {
    const under = this.sent - this.answered - this.failed;
    const lines = [`--- ${host} web-ping statistics ---`,
      `${this.sent} sent, ${this.answered} answered, ${this.failed} failed${under ? `, ${under} under way` : ''}`];
    if (this.answered) {
      lines.push(`min/avg/max = ${this.#least}/${(this.#sum / this.answered).toFixed(1)}/${this.#most} ms`);
    }
    return lines.join('\n');
  }
}

/**
 * Ping until COUNT is reached: one request at a time, each started INTERVAL after the one before, or
 * when that has ended if it took longer. Slow targets get fewer requests, never several at once.
 */
async function run(config, statistics, print) {
  let due = performance.now();
  for (let n = 1; config.count === 0 || n <= config.count; n += 1) {
    statistics.sent = n;
    const outcome = await ping(config);
    statistics.add(outcome);
    print(`request ${n}: ${outcome.ok ? '' : 'failed, '}${outcome.text}, ${outcome.ms} ms`);
    const now = performance.now();
    due = Math.max(due + config.interval, now);
    if (n !== config.count) await new Promise((resolve) => setTimeout(resolve, due - now));
  }
}

function main() {
  let config;
  try {
    config = settings(process.env);
  } catch (error) {
    if (!(error instanceof BadSetting)) throw error;
    console.error(`web-ping: ${error.message}. Set it with: docker container run --env NAME=value ...`);
    process.exit(2);
  }
  const { url, method, interval } = config;
  const statistics = new Statistics();
  const end = (status) => {
    console.log(statistics.report(url.host));
    process.exit(status);
  };
  // As process 1 of a container, Node gets no default action for signals: without these lines
  // "docker container stop" would wait ten seconds and then kill.
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      console.log(`${signal}: stopping`);
      end(0);
    });
  }
  process.stdout.on('error', () => process.exit(0)); // whoever read our lines has gone
  console.log(`web-ping ${method} ${url.protocol}//${url.host}${url.pathname} every ${interval} ms`);
  // Like ping: exit status 1 when nobody ever answered.
  run(config, statistics, console.log).then(() => end(statistics.answered ? 0 : 1));
}

if (require.main === module) main();

module.exports = { BadSetting, Statistics, ping, reason, run, settings };
