// N connections at once, each reads one whole file; the bodies are dropped in the kernel. Prints: seconds bytes complete
// httpload ADDRESS PORT PATH N SECONDS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 4096 };
static long long got[MAX_FD], length[MAX_FD];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 6) { fprintf(stderr, "httpload ADDRESS PORT PATH N SECONDS\n"); return 2; }
    int wanted = atoi(argv[4]), open_now = 0, complete = 0, poll = epoll_create1(0);
    long long bytes = 0;
    char request[512];
    int request_size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", argv[3]);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &there.sin_addr);
    double start = now(), end = start + atof(argv[5]);
    for (int i = 0; i < wanted; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (void *)&there, sizeof there)) { perror("connect"); return 1; }
        send(fd, request, request_size, 0);
        length[fd] = -1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        open_now++;
    }
    struct epoll_event events[256];
    while (open_now && now() < end) {
        int count = epoll_wait(poll, events, 256, 1000);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t size;
            if (length[fd] < 0) {
                char head[2048] = "";
                size = recv(fd, head, sizeof head - 1, MSG_PEEK | MSG_DONTWAIT);
                char *blank = size > 0 ? strstr(head, "\r\n\r\n") : NULL, *field = size > 0 ? strcasestr(head, "content-length:") : NULL;
                if (size <= 0) { if (size < 0 && errno == EAGAIN) continue; close(fd); open_now--; continue; }
                if (!blank) continue;
                length[fd] = field && strstr(head, " 200 ") ? atoll(field + 15) : 0;
                recv(fd, head, blank + 4 - head, MSG_DONTWAIT);
                continue;
            }
            size = recv(fd, NULL, 1 << 22, MSG_TRUNC | MSG_DONTWAIT);
            if (size < 0 && errno == EAGAIN) continue;
            if (size <= 0) {
                complete += length[fd] > 0 && got[fd] == length[fd];
                close(fd);
                open_now--;
                continue;
            }
            got[fd] += size;
            bytes += size;
        }
    }
    printf("%.4f %lld %d\n", now() - start, bytes, complete);
    return complete != wanted;
}
