/* lldp INTERFACE SECONDS: waits for one LLDP frame (IEEE 802.1AB) and prints its neighbour, a line each:
 * "chassis TEXT", "port TEXT", "system TEXT". Exit 1 when none came. Receives only. */
#include <arpa/inet.h>
#include <ctype.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define LLDP 0x88cc
static const unsigned char GROUP[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}; /* nearest bridge */

static void print_text(const char *name, const unsigned char *text, int length) {
    printf("%s ", name);
    for (int i = 0; i < length && i < 100; i++) putchar(isprint(text[i]) ? text[i] : '?');
    putchar('\n');
}

/* subtype `mac` is six bytes, every other one is shown as text (802.1AB tables 8-2 and 8-3) */
static void print_id(const char *name, const unsigned char *id, int length, int mac) {
    if (length == 7 && id[0] == mac)
        printf("%s %02x:%02x:%02x:%02x:%02x:%02x\n", name, id[1], id[2], id[3], id[4], id[5], id[6]);
    else if (length > 1)
        print_text(name, id + 1, length - 1);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int sock = socket(AF_PACKET, SOCK_RAW, htons(LLDP));
    int index = if_nametoindex(argv[1]);
    if (sock < 0 || !index) return 2;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(LLDP), .sll_ifindex = index};
    struct packet_mreq group = {.mr_ifindex = index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6};
    struct timeval limit = {.tv_sec = atoi(argv[2])};
    memcpy(group.mr_address, GROUP, 6);
    if (bind(sock, (struct sockaddr *)&address, sizeof address)) return 2;
    setsockopt(sock, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    unsigned char frame[1600];
    int size = recv(sock, frame, sizeof frame, 0);
    if (size < 16) return 1;
    for (int at = 14; at + 2 <= size;) {
        int type = frame[at] >> 1, length = (frame[at] & 1) << 8 | frame[at + 1];
        unsigned char *value = frame + at + 2;
        at += 2 + length;
        if (!type || at > size) break;
        if (type == 1) print_id("chassis", value, length, 4);
        if (type == 2) print_id("port", value, length, 3);
        if (type == 5) print_text("system", value, length);
    }
    return 0;
}
