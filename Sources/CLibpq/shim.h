#include <libpq-fe.h>

/* How to wait for libpq's sockets; the C library's Swift module leaves it out. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
