// Asynchronous copies to shared memory, in groups, each thread for itself.
#include "cuda_pipeline_primitives.h"

#include <stdlib.h>

namespace emulation {
namespace {

struct Copy {
    void* to;
    const void* from;
    size_t bytes, zeros;
    unsigned group;
};
struct Queue {
    unsigned long long block;
    unsigned group;  // the one that is open
    unsigned first, count, room;
    Copy* copies;
};
Queue queues[1024];

Queue& own_queue()
{
    Queue& queue = queues[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
    if (queue.block != current_block) queue.group = queue.first = queue.count = 0;
    queue.block = current_block;
    return queue;
}

}  // namespace

void copy_later(void* to, const void* from, size_t bytes, size_t zeros)
{
    Queue& queue = own_queue();
    if (queue.count == queue.room) {
        queue.room = queue.room ? 2 * queue.room : 16;
        queue.copies = static_cast<Copy*>(realloc(queue.copies, queue.room * sizeof(Copy)));
    }
    queue.copies[queue.count++] = {to, from, bytes, zeros, queue.group};
}

void commit_copies() { own_queue().group++; }

void wait_for_copies(unsigned younger_groups)
{
    Queue& queue = own_queue();
    while (queue.first < queue.count && queue.copies[queue.first].group + younger_groups < queue.group) {
        const Copy& copy = queue.copies[queue.first++];
        memcpy(copy.to, copy.from, copy.bytes - copy.zeros);
        memset(static_cast<char*>(copy.to) + copy.bytes - copy.zeros, 0, copy.zeros);
    }
    if (queue.first == queue.count) queue.first = queue.count = 0;
}

}  // namespace emulation
