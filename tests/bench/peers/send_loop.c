/* The least that a fan-out can cost: per message one send(2) to each connection, in a loop, in C.
 *
 * Prints the port it listens on. Whatever asks for an upgrade is answered 101 and belongs to the audience.
 * Each line of standard input is a message, sent to all of them as one text frame; the end of it is the end.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define HEAD_MAX 4
#define INPUT_MAX (8 * 1024 * 1024)
#define CONNECTIONS_MAX 65536

static const char UPGRADED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
static int audience[CONNECTIONS_MAX];
static int listeners;
static char input[HEAD_MAX + INPUT_MAX];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int poll, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) < 0) fail("epoll_ctl");
}

static void greet(int poll, int server) {
    int one = 1, connection = accept(server, NULL, NULL);
    if (connection < 0) fail("accept");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(poll, connection);
}

static void leave(int connection) {
    for (int seat = 0; seat < listeners; seat++)
        if (audience[seat] == connection) audience[seat] = audience[--listeners];
    close(connection);
}

/* A request for an upgrade arrives whole, because it is smaller than a segment; frames of clients are not read. */
static void hear(int connection) {
    char request[4096];
    ssize_t size = recv(connection, request, sizeof request, 0);
    if (size <= 0) {
        leave(connection);
    } else if (size >= 4 && memcmp(request + size - 4, "\r\n\r\n", 4) == 0) {
        if (listeners == CONNECTIONS_MAX) exit(1);
        audience[listeners++] = connection;
        send(connection, UPGRADED, sizeof UPGRADED - 1, MSG_NOSIGNAL);
    }
}

/* The bytes in front of `payload` are free for the frame's head. */
static void send_to_all(char *payload, size_t size) {
    char *frame = payload - (size < 126 ? 2 : HEAD_MAX), kept[HEAD_MAX];
    size_t whole = (size_t)(payload - frame) + size;
    memcpy(kept, frame, (size_t)(payload - frame));
    frame[0] = (char)0x81;
    if (size < 126) {
        frame[1] = (char)size;
    } else {
        frame[1] = 126;
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    for (int seat = 0; seat < listeners; seat++) send(audience[seat], frame, whole, MSG_NOSIGNAL);
    memcpy(frame, kept, (size_t)(payload - frame));
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event events[EVENTS];
    size_t held = 0;
    int poll = epoll_create1(0), server = socket(AF_INET, SOCK_STREAM, 0);
    if (poll < 0 || server < 0) fail("socket");
    if (bind(server, (struct sockaddr *)&address, length) < 0 || listen(server, 4096) < 0) fail("listen");
    if (getsockname(server, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(poll, server);
    watch(poll, STDIN_FILENO);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            int descriptor = events[at].data.fd;
            if (descriptor == server) {
                greet(poll, server);
            } else if (descriptor != STDIN_FILENO) {
                hear(descriptor);
            } else {
                char *line = input + HEAD_MAX, *end;
                ssize_t size = read(STDIN_FILENO, line + held, INPUT_MAX - held);
                if (size <= 0) return 0;
                held += (size_t)size;
                while ((end = memchr(line, '\n', held)) != NULL) {
                    send_to_all(line, (size_t)(end - line));
                    held -= (size_t)(end + 1 - line);
                    line = end + 1;
                }
                memmove(input + HEAD_MAX, line, held);
            }
        }
    }
}
