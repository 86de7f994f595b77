// The ceiling for HTTP: one process, epoll and sendfile, one file, no log, no header parsing beyond the blank line.
// httpceil PORT FILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FD = 4096 };
static off_t sent[MAX_FD];
static int head_sent[MAX_FD];

static void die(const char *what) { perror(what); exit(1); }

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "httpceil PORT FILE\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    int file = open(argv[2], O_RDONLY);
    struct stat st;
    if (file < 0 || fstat(file, &st)) die(argv[2]);
    char head[128];
    int head_size = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\nConnection: close\r\n\r\n",
                             (long long)st.st_size);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 4096)) die("bind");
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (client >= MAX_FD) { close(client); continue; }
                    sent[client] = 0; head_sent[client] = 0;
                    event = (struct epoll_event){.events = EPOLLIN, .data.fd = client};
                    epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
                }
                continue;
            }
            if (events[i].events & EPOLLIN) {
                char request[4096];
                if (recv(fd, request, sizeof request, 0) <= 0) { close(fd); continue; }
                event = (struct epoll_event){.events = EPOLLOUT, .data.fd = fd};
                epoll_ctl(poll, EPOLL_CTL_MOD, fd, &event);
                continue;
            }
            if (!head_sent[fd]) { send(fd, head, head_size, MSG_MORE); head_sent[fd] = 1; }
            ssize_t done = sendfile(fd, file, &sent[fd], 1 << 21);  // nginx's sendfile_max_chunk is 2 MiB as well
            if ((done < 0 && errno != EAGAIN) || sent[fd] >= st.st_size) close(fd);
        }
    }
}
