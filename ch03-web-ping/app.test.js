// Unit tests of app.js, on Node's own test runner: node --test
'use strict';

const assert = require('node:assert');
const http = require('node:http');
const net = require('node:net');
const test = require('node:test');
const { BadSetting, Statistics, ping, reason, run, settings } = require('./app.js');

const GOOD = { TARGET: 'example.org', METHOD: 'HEAD', INTERVAL: '3000' };

/** Start a server, on a free port, for one test; returns its address. */
async function serve(t, server) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections?.(); server.close(); });
  return `http://127.0.0.1:${server.address().port}/`;
}

const pingOnce = (url, timeout = 2000, method = 'GET') => ping({ url: new URL(url), method, timeout });

test('a bare host name means https', () => {
  assert.equal(settings(GOOD).url.href, 'https://example.org/');
  assert.equal(settings({ ...GOOD, TARGET: 'http://a:8080/x' }).url.href, 'http://a:8080/x');
  assert.equal(settings({ ...GOOD, TARGET: 'localhost:8443' }).url.href, 'https://localhost:8443/');
});

test('COUNT and TIMEOUT have defaults, and METHOD any case', () => {
  const { count, timeout, method } = settings({ ...GOOD, METHOD: 'get', COUNT: '', TIMEOUT: ' ' });
  assert.deepEqual([count, timeout, method], [0, 10000, 'GET']);
});

for (const [name, values] of Object.entries({
  TARGET: [undefined, '', 'ftp://a', 'a b', 'http://', 'https://[', '\u001b[2J'],
  METHOD: [undefined, '', 'FETCH', 'CONNECT', 'GET /'],
  INTERVAL: [undefined, '', '0', '-1', '1.5', '3s', '1e3', '2147483648', '99999999999'],
  COUNT: ['-1', 'x', '1.5'],
  TIMEOUT: ['0', 'soon'],
})) {
  for (const value of values) {
    test(`${name}=${JSON.stringify(value)} is refused by name`, () => {
      assert.throws(() => settings({ ...GOOD, [name]: value }), (error) => {
        assert.ok(error instanceof BadSetting);
        assert.match(error.message, new RegExp(`^${name} `));
        assert.doesNotMatch(error.message, /[^\x20-\x7e]/);
        return true;
      });
    });
  }
}

test('an answer is its status, whatever the status', async (t) => {
  const url = await serve(t, http.createServer((request, response) => {
    response.statusCode = Number(request.url.slice(1));
    response.end('x'.repeat(100000));
  }));
  for (const [path, text] of [['200', '200 OK'], ['404', '404 Not Found'], ['500', '500 Internal Server Error']]) {
    const outcome = await pingOnce(url + path);
    assert.deepEqual([outcome.ok, outcome.text], [true, text]);
  }
});

test('a redirect is told, not followed', async (t) => {
  let requests = 0;
  const url = await serve(t, http.createServer((request, response) => {
    requests += 1;
    response.writeHead(301, { Location: '/next' }).end();
  }));
  assert.equal((await pingOnce(url)).text, '301 Moved Permanently -> /next, not followed');
  assert.equal(requests, 1);
});

test('failures are outcomes that say why', async (t) => {
  const reset = await serve(t, net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())));
  const rubbish = await serve(t, net.createServer((socket) => socket.end('hello\r\n\r\n')));
  const half = await serve(t, http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Length': 10 });
    response.write('half', () => response.destroy());
  }));
  const silent = await serve(t, http.createServer(() => {}));
  const endless = await serve(t, http.createServer((request, response) => { response.write('...'); }));
  for (const [url, expected] of [
    [reset, /^connection closed before the answer \(ECONNRESET\)$/],
    [rubbish, /^the answer is not HTTP \(HPE_/],
    [half, /^connection closed before the answer \(ECONNRESET\)$/],
    ['http://127.0.0.1:1/', /^connection refused \(ECONNREFUSED\)$/],
    ['http://no-such-host.invalid/', /^(no such host|the name server does not answer) \(E/],
    [silent, /^no answer within 200 ms$/],
    [endless, /^no answer within 200 ms$/],
  ]) {
    const outcome = await pingOnce(url, 200);
    assert.equal(outcome.ok, false, url);
    assert.match(outcome.text, expected);
  }
});

test('reasons name certificates', () => {
  for (const code of ['DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CERT_HAS_EXPIRED']) {
    assert.equal(reason(Object.assign(new Error('x'), { code })), `certificate not accepted (${code})`);
  }
});

test('a slow target never has two requests at once', async (t) => {
  let open = 0;
  let most = 0;
  const url = await serve(t, http.createServer((request, response) => {
    open += 1;
    most = Math.max(most, open);
    setTimeout(() => { open -= 1; response.end(); }, 30);
  }));
  const statistics = new Statistics();
  const lines = [];
  const config = { url: new URL(url), method: 'GET', timeout: 2000, interval: 1, count: 5 };
  await run(config, statistics, (line) => lines.push(line));
  assert.equal(most, 1);
  assert.equal(lines.length, 5);
  assert.match(lines[4], /^request 5: 200 OK, \d+ ms$/);
});

test('INTERVAL counts from start to start', async (t) => {
  const starts = [];
  const url = await serve(t, http.createServer((request, response) => {
    starts.push(performance.now());
    setTimeout(() => response.end(), 60);
  }));
  const config = { url: new URL(url), method: 'GET', timeout: 2000, interval: 100, count: 5 };
  await run(config, new Statistics(), () => {});
  const average = (starts.at(-1) - starts[0]) / 4;
  assert.ok(average >= 95 && average < 150, `${average} ms from one to the next`);
});

test('statistics count every outcome', () => {
  const statistics = new Statistics();
  statistics.sent = 4;
  statistics.add({ ok: true, ms: 10 });
  statistics.add({ ok: true, ms: 21 });
  statistics.add({ ok: false, ms: 5000 });
  assert.equal(statistics.report('a:80'), [
    '--- a:80 web-ping statistics ---', '4 sent, 2 answered, 1 failed, 1 under way', 'min/avg/max = 10/15.5/21 ms',
  ].join('\n'));
  assert.equal(new Statistics().report('a').split('\n').length, 2);
});
