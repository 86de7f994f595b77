// The ceiling for lock-step TFTP (RFC 1350 with RFC 2348's blksize): one process, epoll, a port for each transfer, one
// file in memory, no log, no retransmission. tftpceil ADDRESS PORT FILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FD = 4096, ACK = 4 };
static long long at[MAX_FD];
static int block_size[MAX_FD];

static void die(const char *what) { perror(what); exit(1); }

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "tftpceil ADDRESS PORT FILE\n"); return 2; }
    int file = open(argv[3], O_RDONLY);
    struct stat st;
    if (file < 0 || fstat(file, &st)) die(argv[3]);
    char *content = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (content == MAP_FAILED) die("mmap");
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &here.sin_addr);
    int listener = socket(AF_INET, SOCK_DGRAM, 0), big = 1 << 20;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    if (bind(listener, (void *)&here, sizeof here)) die("bind");
    here.sin_port = 0;
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    unsigned char packet[65536];
    for (;;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                struct sockaddr_in from;
                socklen_t size = sizeof from;
                ssize_t length = recvfrom(fd, packet, sizeof packet - 1, 0, (void *)&from, &size);
                if (length < 4) continue;
                int client = socket(AF_INET, SOCK_DGRAM, 0);
                if (client >= MAX_FD || bind(client, (void *)&here, sizeof here) || connect(client, (void *)&from, size)) die("transfer");
                packet[length] = 0;
                char *option = memmem(packet, length, "blksize", 8);
                block_size[client] = option ? atoi(option + 8) : 512;
                at[client] = -1;
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = client};
                epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
                if (option) {
                    char answer[64] = "\0\6blksize";
                    int n = 10 + sprintf(answer + 10, "%d", block_size[client]) + 1;
                    send(client, answer, n, 0);
                    continue;
                }
                packet[1] = ACK; packet[2] = packet[3] = 0;
                fd = client;
            } else if (recv(fd, packet, sizeof packet, 0) < 4) {
                close(fd);
                continue;
            }
            if (packet[1] != ACK) { close(fd); continue; }
            long long block = at[fd] + 1;  // the ACK is of the block sent last: lock-step
            if ((block + 0) * block_size[fd] > st.st_size) { close(fd); continue; }
            long long offset = block * block_size[fd], left = st.st_size - offset;
            int n = left < block_size[fd] ? left : block_size[fd];
            at[fd] = block;
            packet[0] = 0; packet[1] = 3; packet[2] = (block + 1) >> 8; packet[3] = block + 1;
            memcpy(packet + 4, content + offset, n);
            send(fd, packet, n + 4, 0);
        }
    }
}
