// A server that stops at once when it is asked to.
require('http').createServer((request, response) => response.end('hello\n')).listen(8080);
process.on('SIGTERM', () => process.exit(0));
console.log('ready');
