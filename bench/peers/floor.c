/* The protocol of Job::Async::Redis 0.004 with as little else as C allows: one poll loop, every command that is ready
 * in one write, replies read where they lie in the buffer. No library, no job handling, nothing safe: a floor to
 * measure against.
 *
 *   floor worker HOST PORT POPS
 *   floor client HOST PORT CONCURRENCY WARMUP SECONDS
 *
 * The client prints "measuring" when the warm-up is over, and one line of JSON at the end.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ITEMS = 64, ID = 36 };

struct connection {
    int fd;
    char *out, *in;
    size_t out_length, out_room, in_start, in_end, in_room;
};

struct item {
    const char *text;
    long length; /* -1: nil; for integers the value is in number */
    long number;
};

struct reply {
    int count; /* elements of an array, or 1 */
    struct item items[MAX_ITEMS];
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *grow(void *memory, size_t size) {
    void *grown = realloc(memory, size);
    if (!grown) die("realloc");
    return grown;
}

static struct connection *dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found)) die("getaddrinfo");
    struct connection *c = calloc(1, sizeof *c);
    c->fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, found->ai_addr, found->ai_addrlen)) die("connect");
    freeaddrinfo(found);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c;
}

static void put(struct connection *c, const char *text, size_t length) {
    if (c->out_length + length > c->out_room) {
        c->out_room = 2 * (c->out_length + length);
        c->out = grow(c->out, c->out_room);
    }
    memcpy(c->out + c->out_length, text, length);
    c->out_length += length;
}

/* A command of `count` strings. */
static void send_command(struct connection *c, int count, ...) {
    char head[32];
    va_list words;
    put(c, head, sprintf(head, "*%d\r\n", count));
    va_start(words, count);
    for (int i = 0; i < count; i++) {
        const char *word = va_arg(words, const char *);
        size_t length = strlen(word);
        put(c, head, sprintf(head, "$%zu\r\n", length));
        put(c, word, length);
        put(c, "\r\n", 2);
    }
    va_end(words);
}

static void flush(struct connection *c) {
    for (size_t done = 0; done < c->out_length;) {
        ssize_t written = write(c->fd, c->out + done, c->out_length - done);
        if (written <= 0) die("write");
        done += written;
    }
    c->out_length = 0;
}

static void fill(struct connection *c) {
    if (c->in_start) {
        memmove(c->in, c->in + c->in_start, c->in_end - c->in_start);
        c->in_end -= c->in_start;
        c->in_start = 0;
    }
    if (c->in_room - c->in_end < 65536) {
        c->in_room = 2 * c->in_room + 131072;
        c->in = grow(c->in, c->in_room);
    }
    ssize_t got = read(c->fd, c->in + c->in_end, c->in_room - c->in_end - 1);
    if (got <= 0) exit(0); /* the benchmark is over */
    c->in_end += got;
    c->in[c->in_end] = 0;
}

/* One scalar at `*at`; 0 where it is not there whole. */
static int scan(struct connection *c, size_t *at, char *kind, struct item *item) {
    char *line = c->in + *at, *end = memchr(line, '\r', c->in_end - *at);
    if (!end || end + 2 > c->in + c->in_end) return 0;
    *kind = line[0];
    if (line[0] == '-') {
        fprintf(stderr, "%.*s\n", (int)(end - line), line);
        exit(1);
    }
    item->number = strtol(line + 1, 0, 10);
    item->text = line + 1;
    item->length = end - line - 1;
    *at = end + 2 - c->in;
    if (line[0] == '$') {
        item->text = end + 2;
        item->length = item->number;
        if (item->number >= 0) {
            if (*at + item->number + 2 > c->in_end) return 0;
            *at += item->number + 2;
        }
    }
    return 1;
}

static int next_reply(struct connection *c, struct reply *reply) {
    size_t at = c->in_start;
    char kind;
    if (at == c->in_end || !scan(c, &at, &kind, &reply->items[0])) return 0;
    reply->count = 1;
    if (kind == '*') {
        int count = reply->items[0].number < 0 ? 0 : (int)reply->items[0].number;
        if (count > MAX_ITEMS) exit(2);
        for (int i = 0; i < count; i++)
            if (!scan(c, &at, &kind, &reply->items[i])) return 0;
        if (!count) reply->items[0].length = -1;
        reply->count = count;
    }
    c->in_start = at;
    return 1;
}

/* What the replies of a connection belong to, in order: the ID of a job whose reply matters, or an empty string. */
static char (*expected)[ID + 1];
static unsigned expected_first, expected_last, expected_mask = (1 << 20) - 1;

static void expect(const char *id) { memcpy(expected[expected_last++ & expected_mask], id, strlen(id) + 1); }

static void answer(struct connection *c, const char *id, const struct reply *job) {
    char key[64], channel[96], result[32], at[32];
    const char *reply_to = "";
    int reply_to_length = 0;
    long a = 0, b = 0;
    for (int i = 0; i + 1 < job->count; i += 2) {
        const struct item *field = &job->items[i], *value = field + 1;
        if (field->length == 9 && !memcmp(field->text, "_reply_to", 9)) {
            reply_to = value->text;
            reply_to_length = (int)value->length;
        } else if (field->length == 6 && !memcmp(field->text, "text_a", 6)) {
            a = strtol(value->text, 0, 10);
        } else if (field->length == 6 && !memcmp(field->text, "text_b", 6)) {
            b = strtol(value->text, 0, 10);
        }
    }
    sprintf(key, "job::%s", id);
    sprintf(channel, "client::%.*s", reply_to_length, reply_to);
    sprintf(result, "T%ld", a + b);
    sprintf(at, "%.5f", now(CLOCK_REALTIME));
    send_command(c, 6, "HMSET", key, "result", result, "_processed", at);
    send_command(c, 3, "PUBLISH", channel, id);
    send_command(c, 4, "LREM", "jobs::processing", "1", id);
    expect("");
    expect("");
    expect("");
}

_Noreturn static void work(const char *host, const char *port, int pops) {
    struct connection *popping = dial(host, port), *commands = dial(host, port);
    struct reply reply;
    char key[64], at[32];
    for (int i = 0; i < pops; i++) send_command(popping, 4, "BRPOPLPUSH", "jobs::pending", "jobs::processing", "3");
    flush(popping);
    puts("ready");
    fflush(stdout);
    struct pollfd polled[2] = {{popping->fd, POLLIN, 0}, {commands->fd, POLLIN, 0}};
    for (;;) {
        poll(polled, 2, -1);
        if (polled[0].revents)
            for (fill(popping); next_reply(popping, &reply);) {
                send_command(popping, 4, "BRPOPLPUSH", "jobs::pending", "jobs::processing", "3");
                if (reply.items[0].length != ID) continue;
                char id[ID + 1] = {0};
                memcpy(id, reply.items[0].text, ID);
                sprintf(key, "job::%s", id);
                sprintf(at, "%.5f", now(CLOCK_REALTIME));
                send_command(commands, 2, "HGETALL", key);
                expect(id);
                send_command(commands, 4, "HMSET", key, "_started", at);
                expect("");
            }
        if (polled[1].revents)
            for (fill(commands); next_reply(commands, &reply);) {
                const char *id = expected[expected_first++ & expected_mask];
                if (*id) answer(commands, id, &reply);
            }
        flush(popping);
        flush(commands);
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void submit(struct connection *c, const char *client, unsigned long number, double *begun) {
    char id[ID + 1], key[64], a[32], at[32];
    sprintf(id, "%08lx-0000-4000-8000-%012d", number, 1);
    sprintf(key, "job::%s", id);
    sprintf(a, "%lu", number);
    sprintf(at, "%.5f", now(CLOCK_REALTIME));
    begun[number] = now(CLOCK_MONOTONIC);
    send_command(c, 10, "HMSET", key, "_reply_to", client, "_queued", at, "text_a", a, "text_b", "7");
    send_command(c, 3, "LPUSH", "jobs::pending", id);
    expect("");
    expect("");
}

static int submit_all(const char *host, const char *port, int concurrency, double warmup, double seconds) {
    enum { MOST = 1 << 24 };
    struct connection *notices = dial(host, port), *commands = dial(host, port);
    struct reply reply;
    char client[40], channel[64], key[64], id[ID + 1] = {0};
    double *begun = malloc(sizeof(double) * MOST);
    float *latencies = malloc(sizeof(float) * MOST);
    unsigned long submitted = 0;
    long done = 0;
    double from = 0, cpu = 0, start = now(CLOCK_MONOTONIC) + warmup;
    sprintf(client, "floor-%d", getpid());
    sprintf(channel, "client::%s", client);
    send_command(notices, 2, "SUBSCRIBE", channel);
    flush(notices);
    for (int i = 0; i < concurrency; i++) submit(commands, client, submitted++, begun);
    flush(commands);
    struct pollfd polled[2] = {{notices->fd, POLLIN, 0}, {commands->fd, POLLIN, 0}};
    for (;;) {
        poll(polled, 2, 1000);
        double t = now(CLOCK_MONOTONIC);
        if (!from && t > start) {
            puts("measuring");
            fflush(stdout);
            from = t;
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        }
        if (polled[0].revents)
            for (fill(notices); next_reply(notices, &reply);) {
                if (reply.count != 3 || reply.items[2].length != ID) continue; /* the subscription itself */
                memcpy(id, reply.items[2].text, ID);
                sprintf(key, "job::%s", id);
                send_command(commands, 3, "HMGET", key, "result");
                expect(id);
                send_command(commands, 2, "DEL", key);
                expect("");
            }
        if (polled[1].revents)
            for (fill(commands); next_reply(commands, &reply);) {
                const char *which = expected[expected_first++ & expected_mask];
                if (!*which) continue;
                unsigned long number = strtoul(which, 0, 16);
                if (strtoul(reply.items[0].text + 1, 0, 10) != number + 7 || submitted >= MOST) return 3;
                if (from) latencies[done++] = (float)(now(CLOCK_MONOTONIC) - begun[number]);
                submit(commands, client, submitted++, begun);
            }
        flush(commands);
        if (from && now(CLOCK_MONOTONIC) > from + seconds) break;
    }
    double wall = now(CLOCK_MONOTONIC) - from;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(latencies, done, sizeof *latencies, ascending);
    printf("{\"jobs\": %ld, \"seconds\": %.6f, \"cpu\": %.6f, \"p50\": %.6f, \"p99\": %.6f}\n", done, wall, cpu,
           latencies[done / 2], latencies[(long)(done * 0.99)]);
    return 0;
}

int main(int count, char **words) {
    expected = calloc(expected_mask + 1, sizeof *expected);
    if (count == 5 && !strcmp(words[1], "worker")) work(words[2], words[3], atoi(words[4]));
    if (count == 7 && !strcmp(words[1], "client"))
        return submit_all(words[2], words[3], atoi(words[4]), atof(words[5]), atof(words[6]));
    fputs("usage: floor worker HOST PORT POPS | floor client HOST PORT CONCURRENCY WARMUP SECONDS\n", stderr);
    return 2;
}
