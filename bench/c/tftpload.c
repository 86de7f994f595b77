// N clients at once read one file by lock-step TFTP until TOTAL transfers are done. Prints: seconds bytes complete
// tftpload ADDRESS PORT NAME BLKSIZE N TOTAL SECONDS    (a client that hears nothing for a second asks again)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 4096, DATA = 3, ACK = 4, OACK = 6 };
struct client { struct sockaddr_in peer; long long block; double heard; unsigned char last[600]; int last_size; };
static struct client clients[MAX_FD];
static struct sockaddr_in server;
static int poll;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void say(int fd) {
    struct client *c = &clients[fd];
    sendto(fd, c->last, c->last_size, 0, (void *)&c->peer, sizeof c->peer);
}

static int begin(const char *name, const char *blksize) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct client *c = &clients[fd];
    *c = (struct client){.peer = server, .heard = now()};
    c->last_size = 2 + sprintf((char *)c->last + 2, "%s%coctet%cblksize%c%s", name, 0, 0, 0, blksize) + 1;
    c->last[1] = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    say(fd);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 8) { fprintf(stderr, "tftpload ADDRESS PORT NAME BLKSIZE N TOTAL SECONDS\n"); return 2; }
    int block_size = atoi(argv[4]), parallel = atoi(argv[5]), total = atoi(argv[6]), begun = 0, done = 0, failed = 0;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    poll = epoll_create1(0);
    long long bytes = 0;
    double start = now(), end = start + atof(argv[7]), swept = start;
    int active[MAX_FD] = {0};
    for (; begun < parallel && begun < total; begun++) active[begin(argv[3], argv[4])] = 1;
    struct epoll_event events[256];
    unsigned char packet[65536];
    while (done + failed < total && now() < end) {
        int count = epoll_wait(poll, events, 256, 200);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, over = 0;
            struct client *c = &clients[fd];
            socklen_t size = sizeof c->peer;
            struct sockaddr_in from;
            ssize_t length = recvfrom(fd, packet, sizeof packet, 0, (void *)&from, &size);
            if (length < 4) continue;
            unsigned number = packet[2] << 8 | packet[3];
            if (packet[1] == DATA && number == ((c->block + 1) & 0xffff)) {
                c->block++;
                bytes += length - 4;
                over = length - 4 < block_size;
            } else if (packet[1] == OACK && !c->block) number = 0;
            else if (packet[1] == DATA) continue;
            else { failed++; over = 2; }
            c->peer = from;
            c->heard = now();
            memcpy(c->last, (unsigned char[]){0, ACK, number >> 8, number}, 4);
            c->last_size = 4;
            if (over != 2) say(fd);
            if (!over) continue;
            done += over == 1;
            close(fd);
            active[fd] = 0;
            if (begun < total) { active[begin(argv[3], argv[4])] = 1; begun++; }
        }
        if (now() - swept > 0.5) {
            swept = now();
            for (int fd = 0; fd < MAX_FD; fd++) if (active[fd] && swept - clients[fd].heard > 1.0) { clients[fd].heard = swept; say(fd); }
        }
    }
    printf("%.4f %lld %d\n", now() - start, bytes, done);
    return done != total;
}
