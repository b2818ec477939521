const ms = require('ms');
const server = require('http').createServer((request, response) => response.end(`up for ${ms(process.uptime() * 1000)}\n`));
if (require.main === module) {
  server.listen(3000);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
}
module.exports = server;
