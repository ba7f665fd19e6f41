/*
 * The peer to divide by: a recorder in C on libwebsockets that writes the raw payload of every frame to one file a
 * stream, and nothing else: no alignment, no stereo, no header, no recovery.
 *
 *     recorder PORT FOLDER [BYTES]
 *
 * BYTES, of some frames, is set as SO_RCVLOWAT of each socket: the kernel wakes it once that many are there.
 */
#include <fcntl.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct stream { int file; };

static const char *folder;
static int streams, mark_bytes;
static volatile sig_atomic_t stopping;

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct stream *stream = user;
    char path[512];

    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        snprintf(path, sizeof path, "%s/%d.raw", folder, streams++);
        stream->file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (mark_bytes)
            setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_RCVLOWAT, &mark_bytes, sizeof mark_bytes);
        return stream->file < 0 ? -1 : 0;
    case LWS_CALLBACK_RECEIVE:
        return write(stream->file, in, len) == (ssize_t)len ? 0 : -1;
    case LWS_CALLBACK_CLOSED:
        close(stream->file);
        return 0;
    default:
        return 0;
    }
}

static void on_signal(int number) { (void)number; stopping = 1; }

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        { "media", on_event, sizeof(struct stream), 4096, 0, NULL, 0 },
        { NULL, NULL, 0, 0, 0, NULL, 0 },
    };
    struct lws_context_creation_info info;
    struct lws_context *context;

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: recorder PORT FOLDER [BYTES]\n");
        return 2;
    }
    folder = argv[2];
    mark_bytes = argc == 4 ? atoi(argv[3]) : 0;
    signal(SIGTERM, on_signal);
    lws_set_log_level(LLL_ERR, NULL);
    memset(&info, 0, sizeof info);
    info.port = atoi(argv[1]);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.gid = -1;
    info.uid = -1;
    context = lws_create_context(&info);
    if (!context)
        return 2;
    while (!stopping && lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return 0;
}
