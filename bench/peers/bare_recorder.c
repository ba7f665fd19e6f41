/*
 * A stricter peer than the one on libwebsockets: as little as a recorder in C can do, with no library and no checks. One
 * thread, epoll, and a parser that knows whole, unfragmented, masked messages of up to 64 kB; the raw payload of each
 * goes to one file a stream with a write of its own.
 *
 *     bare_recorder PORT FOLDER [BYTES]
 *
 * BYTES, of some frames, is set as SO_RCVLOWAT of each socket: the kernel wakes it once that many are there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct stream {
    int socket, file, is_open;
    size_t size;
    unsigned char in[72 * 1024];
};

static const char *folder;
static int streams, mark_bytes, poller;

/* The answer to a handshake has the SHA-1 of the key; the bench's generators do not look at it. */
static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: of-no-interest\r\n\r\n";
static const unsigned char CLOSE[] = { 0x88, 2, 1000 >> 8, 1000 & 0xff };

static void leave(struct stream *stream)
{
    close(stream->socket);
    if (stream->is_open)
        close(stream->file);
    free(stream);
}

static int open_stream(struct stream *stream)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%d.raw", folder, streams++);
    stream->file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    stream->is_open = stream->file >= 0;
    if (mark_bytes)
        setsockopt(stream->socket, SOL_SOCKET, SO_RCVLOWAT, &mark_bytes, sizeof mark_bytes);
    return stream->is_open && send(stream->socket, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) > 0;
}

/* Take a message from the buffer; return its size there, 0 if it is not whole, -1 at the end of the stream. */
static long take(struct stream *stream, unsigned char *in, size_t size)
{
    size_t head = 6, length;
    unsigned char mask[8];
    if (!stream->is_open) {
        unsigned char *blank = memmem(in, size, "\r\n\r\n", 4);
        return !blank ? 0 : open_stream(stream) ? blank + 4 - in : -1;
    }
    if (size < 8)
        return 0;
    length = in[1] & 0x7f;
    if (length == 127)
        return -1;
    if (length == 126) {
        length = in[2] << 8 | in[3];
        head = 8;
    }
    if (size < head + length)
        return 0;
    if ((in[0] & 0xf) == 0x8) {
        send(stream->socket, CLOSE, sizeof CLOSE, MSG_NOSIGNAL);
        return -1;
    }
    if (in[0] & 0x8)
        return head + length;
    memcpy(mask, in + head - 4, 4);
    for (size_t at = 0; at < length; at++)
        in[head + at] ^= mask[at & 3];
    return write(stream->file, in + head, length) == (ssize_t)length ? (long)(head + length) : -1;
}

static void receive(struct stream *stream)
{
    ssize_t got = recv(stream->socket, stream->in + stream->size, sizeof stream->in - stream->size, 0);
    size_t at = 0;
    long used = got > 0 ? 1 : -1;
    if (got > 0)
        stream->size += got;
    while (used > 0 && at < stream->size) {
        used = take(stream, stream->in + at, stream->size - at);
        at += used > 0 ? used : 0;
    }
    if (used < 0) {
        leave(stream);
        return;
    }
    stream->size -= at;
    memmove(stream->in, stream->in + at, stream->size);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { .events = EPOLLIN }, events[256];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: bare_recorder PORT FOLDER [BYTES]\n");
        return 2;
    }
    folder = argv[2];
    mark_bytes = argc == 4 ? atoi(argv[3]) : 0;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    address.sin_port = htons(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        return 2;
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int at = 0; at < ready; at++) {
            struct stream *stream = events[at].data.ptr;
            if (stream) {
                receive(stream);
                continue;
            }
            stream = malloc(sizeof *stream);
            if (!stream || (stream->socket = accept(listener, NULL, NULL)) < 0)
                return 2;
            stream->size = stream->is_open = 0;
            event.data.ptr = stream;
            epoll_ctl(poller, EPOLL_CTL_ADD, stream->socket, &event);
        }
    }
}
