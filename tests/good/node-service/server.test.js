const test = require('node:test');
const assert = require('node:assert');
const server = require('./server.js');

test('answers', async () => {
  await new Promise((listening) => server.listen(0, listening));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}`);
  assert.match(await answer.text(), /^up for /);
  server.close();
  server.closeAllConnections();
});
