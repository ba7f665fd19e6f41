/*
 * The load's generator for more legs than one in Python can send (wavstream/simulator/load_worker.py says what it
 * sends, and when): plain sockets, one thread, epoll. Every frame was made and masked before.
 *
 *     generator HOST PORT WIRE MESSAGE_BYTES SLOTS CONNECTS_PER_S HEADERS storm|calm
 *
 * WIRE is a file of the ring's messages, each of MESSAGE_BYTES; HEADERS go into every handshake. Standard input has a
 * line for each leg, "NUMBER PLACE FRAMES LEGS TARGET", an empty line, and, once {"connected": N} was printed, one that
 * says {"start": SECONDS} of the monotonic clock. At the end one line of JSON has the counts.
 *
 * calm: all legs are open before the start. storm: they are dialled from the start on, and each streams as soon as it
 * is open; "connected" is said when all were answered, and refused ones are counted. What a full socket does not take is
 * kept and sent before anything else of that leg: no sample is left out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WAITING, UPGRADING, STREAMING, CLOSING, OVER };

struct leg {
    int number, fd, state, code;
    long place, wanted, sent;
    char *target;
    unsigned char *unsent;
    size_t unsent_size, unsent_room, skip;
    unsigned char in[1024];
    size_t in_size;
    double close_by;
};

static const double PTIME_S = 0.02, LATE_S = 0.010, CLOSE_S = 15.0;
static const unsigned char MASK[4] = { 0x5a, 0x3c, 0xc3, 0x96 };

static struct leg *legs;
static int count, dialled, opened, refused, over, poller, is_storm;
static long total_legs = 1;
static const char *headers;
static struct sockaddr_in address;
static long frames, late_ticks, held_back;
static double worst_late_s;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void sleep_until(double at_s)
{
    struct timespec at = { (time_t)at_s, (long)((at_s - (time_t)at_s) * 1e9) };
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void fail(const char *what, int status)
{
    char clean[200];
    size_t size = 0;
    for (; *what && *what != '\r' && size < sizeof clean - 1; what++)
        if (*what >= ' ' && *what != '"' && *what != '\\')
            clean[size++] = *what;
    clean[size] = 0;
    if (status)
        printf("{\"failed\": \"%s\", \"refused\": %d, \"why\": \"\"}\n", clean, status);
    else
        printf("{\"failed\": \"%s\"}\n", clean);
    exit(0);
}

static void watch(struct leg *leg, int how)
{
    struct epoll_event event = { .events = EPOLLIN | (leg->unsent_size ? EPOLLOUT : 0), .data.ptr = leg };
    epoll_ctl(poller, how, leg->fd, &event);
}

static void end(struct leg *leg)
{
    if (leg->state == OVER)
        return;
    if (leg->fd >= 0)
        close(leg->fd);
    leg->fd = -1;
    leg->state = OVER;
    frames += leg->sent;
    over++;
}

static void flush_unsent(struct leg *leg)
{
    ssize_t taken = send(leg->fd, leg->unsent, leg->unsent_size, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN && errno != EINPROGRESS)
            end(leg);
        return;
    }
    leg->unsent_size -= taken;
    memmove(leg->unsent, leg->unsent + taken, leg->unsent_size);
    if (!leg->unsent_size)
        watch(leg, EPOLL_CTL_MOD);
}

static void say(struct leg *leg, const unsigned char *bytes, size_t size)
{
    ssize_t taken = 0;
    if (leg->state == OVER)
        return;
    if (!leg->unsent_size) {
        taken = send(leg->fd, bytes, size, MSG_NOSIGNAL);
        if (taken < 0) {
            if (errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS) {
                end(leg);
                return;
            }
            taken = 0;
        }
        if ((size_t)taken == size)
            return;
    }
    size -= taken;
    if (leg->unsent_size + size > leg->unsent_room) {
        leg->unsent_room = 2 * (leg->unsent_size + size);
        leg->unsent = realloc(leg->unsent, leg->unsent_room);
        if (!leg->unsent)
            fail("out of memory", 0);
    }
    memcpy(leg->unsent + leg->unsent_size, bytes + taken, size);
    leg->unsent_size += size;
    watch(leg, EPOLL_CTL_MOD);
}

static void say_control(struct leg *leg, int opcode, const unsigned char *payload, size_t size)
{
    unsigned char message[6 + 125] = { 0x80 | opcode, 0x80 | size, MASK[0], MASK[1], MASK[2], MASK[3] };
    for (size_t at = 0; at < size; at++)
        message[6 + at] = payload[at] ^ MASK[at % 4];
    say(leg, message, 6 + size);
}

static void hang_up(struct leg *leg)
{
    static const unsigned char normal[2] = { 1000 >> 8, 1000 & 0xff };
    leg->state = CLOSING;
    leg->close_by = now_s() + CLOSE_S;
    say_control(leg, 0x8, normal, 2);
}

static void dial(struct leg *leg)
{
    char request[2048];
    int one = 1;
    leg->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (leg->fd < 0)
        fail(strerror(errno), 0);
    setsockopt(leg->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(leg->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail(strerror(errno), 0);
    leg->state = UPGRADING;
    watch(leg, EPOLL_CTL_ADD);
    int size = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: d2F2c3RyZWFtLWJlbmNoIQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", leg->target, headers);
    say(leg, (unsigned char *)request, size);
}

/* Take what a head of the handshake's answer or one message says; return how much of the buffer that was, 0: wait. */
static size_t take(struct leg *leg)
{
    unsigned char *in = leg->in;
    size_t size, head = 2;
    if (leg->state == UPGRADING) {
        unsigned char *blank = memmem(in, leg->in_size, "\r\n\r\n", 4);
        if (!blank)
            return 0;
        *blank = 0;
        if (!strstr((char *)in, " 101") && !is_storm)
            fail((char *)in, atoi((char *)in + 9));
        if (strstr((char *)in, " 101")) {
            leg->state = STREAMING;
            opened++;
        } else {
            end(leg);
            refused++;
        }
        if (opened + refused == count)
            printf("{\"connected\": %d}\n", opened);
        if (leg->state == OVER)
            return leg->in_size;
        return blank + 4 - in;
    }
    if (leg->in_size < 2)
        return 0;
    size = in[1] & 0x7f;
    if (size > 125) {
        head = size == 126 ? 4 : 10;
        if (leg->in_size < head)
            return 0;
        size = 0;
        for (size_t at = 2; at < head; at++)
            size = size << 8 | in[at];
    }
    if (!(in[0] & 0x8)) {
        leg->skip = size;
        return head;
    }
    if (leg->in_size < head + size)
        return 0;
    if ((in[0] & 0xf) == 0x9)
        say_control(leg, 0xa, in + head, size);
    if ((in[0] & 0xf) == 0x8) {
        leg->code = size >= 2 ? in[head] << 8 | in[head + 1] : 1005;
        if (leg->state != CLOSING)
            say_control(leg, 0x8, in + head, size < 2 ? size : 2);
        end(leg);
        return leg->in_size;
    }
    return head + size;
}

static void receive(struct leg *leg)
{
    ssize_t got = recv(leg->fd, leg->in + leg->in_size, sizeof leg->in - leg->in_size, 0);
    size_t used;
    if (got < 0 && (errno == EAGAIN || errno == EINPROGRESS))
        return;
    if (got <= 0) {
        if (leg->state == UPGRADING)
            fail("the server closed a connection during the handshake", 0);
        end(leg);
        return;
    }
    leg->in_size += got;
    while (leg->in_size) {
        if (leg->skip) {
            used = leg->skip < leg->in_size ? leg->skip : leg->in_size;
            leg->skip -= used;
        } else
            used = take(leg);
        if (!used)
            break;
        leg->in_size -= used;
        memmove(leg->in, leg->in + used, leg->in_size);
    }
    if (leg->in_size == sizeof leg->in)
        fail("the server sent a head that is too long", 0);
}

static void service(int wait_ms)
{
    struct epoll_event events[256];
    int ready = epoll_wait(poller, events, 256, wait_ms);
    for (int at = 0; at < ready; at++) {
        struct leg *leg = events[at].data.ptr;
        if (leg->state != OVER && events[at].events & EPOLLOUT && leg->unsent_size)
            flush_unsent(leg);
        if (leg->state != OVER && events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(leg);
    }
}

static void dial_due(double since_s, double per_s)
{
    while (dialled < count && now_s() >= since_s + dialled / per_s)
        dial(&legs[dialled++]);
}

static void read_legs(void)
{
    static char line[4096];
    int room = 0;
    while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
        struct leg *leg;
        char *target = malloc(sizeof line);
        if (count == room)
            legs = realloc(legs, (room = room ? 2 * room : 256) * sizeof *legs);
        if (!legs || !target)
            fail("out of memory", 0);
        leg = memset(&legs[count++], 0, sizeof *legs);
        leg->fd = -1;
        leg->target = target;
        if (sscanf(line, "%d %ld %ld %ld %4000s", &leg->number, &leg->place, &leg->wanted, &total_legs, target) != 5)
            fail("a leg's line is wrong", 0);
    }
}

static double read_start(void)
{
    struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
    char line[100];
    double start_s = 0;
    while (!poll(&input, 1, 0))
        service(20); /* pings, while recordings are started */
    if (read(STDIN_FILENO, line, sizeof line - 1) <= 0 || sscanf(line, "{\"start\": %lf", &start_s) != 1)
        exit(1);
    return start_s;
}

static void report(void)
{
    struct rusage used;
    const char *comma = "";
    getrusage(RUSAGE_SELF, &used);
    printf("{\"frames\": %ld, \"late_ticks\": %ld, \"worst_late_ms\": %.3f, \"held_back\": %ld, \"cpu_s\": %.3f, "
           "\"lost_legs\": [", frames, late_ticks, worst_late_s * 1e3, held_back,
        used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    for (int at = 0; at < count; at++) {
        if (legs[at].code == 1000 && legs[at].sent == legs[at].wanted)
            continue;
        if (legs[at].code)
            printf("%s[%d, %d]", comma, legs[at].number, legs[at].code);
        else
            printf("%s[%d, null]", comma, legs[at].number);
        comma = ", ";
    }
    printf("], \"refused\": [");
    for (int at = 0; at < refused; at++)
        printf("%s\"503\"", at ? ", " : "");
    printf("]}\n");
    fflush(stdout);
}

static void stream(const unsigned char *wire, long ring, size_t size, int slots, double start_s, double per_s)
{
    for (long tick = 0; over < count; tick++) {
        for (int slot = 0; slot < slots; slot++) {
            double due_s = start_s + (tick + (double)slot / slots) * PTIME_S, late_s = now_s() - due_s;
            if (late_s < 0)
                sleep_until(due_s);
            late_ticks += late_s > LATE_S;
            worst_late_s = late_s > worst_late_s ? late_s : worst_late_s;
            dial_due(start_s, per_s);
            /* The legs' numbers go up, so a slot's are side by side. */
            for (long at = count * (long)slot / slots; at < count * (long)(slot + 1) / slots; at++) {
                struct leg *leg = &legs[at];
                if (leg->state == STREAMING && leg->sent < leg->wanted) {
                    say(leg, wire + (leg->place + leg->sent) % ring * size, size);
                    leg->sent++;
                    held_back += leg->unsent_size > 0;
                } else if (leg->state == STREAMING)
                    hang_up(leg);
                else if (leg->state == CLOSING && now_s() > leg->close_by)
                    end(leg);
            }
            service(0);
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct stat wire_file;
    if (argc != 9) {
        fprintf(stderr, "usage: generator HOST PORT WIRE MESSAGE_BYTES SLOTS CONNECTS_PER_S HEADERS storm|calm\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* it ends with its parent */
    signal(SIGINT, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        fail("the generator in C wants an address of IPv4", 0);
    int wire = open(argv[3], O_RDONLY);
    is_storm = !strcmp(argv[8], "storm");
    size_t size = atol(argv[4]);
    double per_s = atof(argv[6]);
    if (wire < 0 || fstat(wire, &wire_file))
        fail("no file of messages", 0);
    const unsigned char *messages = mmap(NULL, wire_file.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, wire, 0);
    headers = argv[7];
    setvbuf(stdin, NULL, _IONBF, 0); /* what follows the legs is read past it */
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_legs();
    poller = epoll_create1(0);
    double since_s = now_s();
    while (!is_storm && opened < count) {
        dial_due(since_s, per_s);
        service(1);
    }
    stream(messages, wire_file.st_size / size, size, atoi(argv[5]), read_start(), per_s);
    report();
    return 0;
}
