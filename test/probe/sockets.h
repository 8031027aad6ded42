// Servers that the tests need and Node cannot be: sockets of packets and of datagrams, unix(7).
#pragma once

/// hear-datagrams PATH: prints each datagram that comes, a line each; first of all a line `listening`.
int hear_datagrams(char** arguments);

/// answer-calls PATH VALUE: a proxy of lxc.seccomp.notify.proxy. Prints what comes with each call, one JSON object each, and lets it
/// return VALUE (negative: fail with that errno; `continue`: go on; `gone`: closes the connection instead). First of all a line `listening`.
int answer_calls(char** arguments);
