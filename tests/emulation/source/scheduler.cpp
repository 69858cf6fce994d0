// Runs the blocks of a grid, one after another, and the threads of a block as fibers.
//
// A fiber runs one thread after another as long as none has to wait, so that a kernel without barriers is a
// plain loop; where a thread waits, the next one gets a fiber of its own. CASTOFF_EMULATION_ORDER (forward,
// reverse, random:<seed>) says in which order the threads and blocks go on. The driver holds its lock meanwhile.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "emulation/block.h"
#include "switch.h"

extern "C" {
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
}

namespace emulation {

unsigned current_lane;
unsigned long long current_block;
static constexpr size_t shared_limit = 227 << 10, static_shared_limit = 48 << 10;
alignas(1024) unsigned char dynamic_shared_memory[shared_limit];

namespace {

constexpr unsigned max_threads = 1024;
constexpr size_t stack_bytes = 512 << 10;

struct Fiber {
    Context context;
    char* stack;
    void* fake_stack;  // AddressSanitizer's
};

struct Thread {
    Fiber* fiber;
    uint3 index;
    enum { running, at_barrier, in_warp, finished } state;
    unsigned mask;
    const char* operation;
    const Meeting* meeting;
    unsigned char value[16];
    unsigned bytes;
};

struct Warp {
    unsigned absent;   // lanes that do not exist or have finished
    unsigned waiting;  // lanes in meet_warp()
};

Grid grid;
unsigned thread_count, started, finished_count, arrived, predicate_count;
Votes votes;
Thread threads[max_threads];
Warp warps[max_threads / 32];
unsigned order[max_threads];  // the order in which threads go on
unsigned ready[max_threads], ready_count, ready_first;
unsigned current;
Fiber fibers[max_threads];
unsigned fiber_count;
Fiber* idle[max_threads];
unsigned idle_count;
Meeting meetings[max_threads];
Meeting* free_meetings[max_threads];
unsigned free_meeting_count;
size_t static_shared_bytes;
bool is_broken;

Context scheduler_context;
[[maybe_unused]] void* scheduler_fake_stack;
[[maybe_unused]] const void* scheduler_stack;
[[maybe_unused]] size_t scheduler_stack_bytes;

enum Order { forward, reverse, shuffled } chosen_order;
uint64_t random_state;

uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return static_cast<uint32_t>((random_state >> 32) * below >> 32);
}

void say(const char* format, va_list arguments)
{
    char sentence[1000];
    vsnprintf(sentence, sizeof sentence, format, arguments);
    emulation_say(sentence);
    is_broken = true;
}

__attribute__((format(printf, 1, 2))) void report(const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void choose_order()
{
    const char* value = getenv("CASTOFF_EMULATION_ORDER");
    if (!value || !*value || !strcmp(value, "forward")) {
        chosen_order = forward;
    } else if (!strcmp(value, "reverse")) {
        chosen_order = reverse;
    } else if (!strncmp(value, "random:", 7)) {
        chosen_order = shuffled;
        random_state = strtoull(value + 7, nullptr, 0) * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    } else {
        report("CASTOFF_EMULATION_ORDER: expected forward, reverse or random:<seed>, got %s", value);
    }
}

template <typename Integer> void arrange(Integer* numbers, Integer count)
{
    for (Integer i = 0; i < count; i++) numbers[i] = chosen_order == reverse ? count - 1 - i : i;
    if (chosen_order != shuffled) return;
    for (Integer i = count; i > 1; i--) {
        Integer other = draw(static_cast<uint32_t>(i));
        Integer kept = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = kept;
    }
}

void go_to_scheduler(Fiber& fiber)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler_stack, scheduler_stack_bytes);
#endif
    switch_context(fiber.context, scheduler_context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void go_to_fiber(Fiber& fiber)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack, stack_bytes);
#endif
    switch_context(scheduler_context, fiber.context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

void make_current(unsigned thread)
{
    current = thread;
    current_lane = thread % 32;
    threadIdx = threads[thread].index;
}

void push_ready(unsigned thread)
{
    threads[thread].state = Thread::running;
    ready[(ready_first + ready_count++) % max_threads] = thread;
}

unsigned take_ready()
{
    if (chosen_order == shuffled) {
        unsigned other = (ready_first + draw(ready_count)) % max_threads;
        unsigned kept = ready[ready_first];
        ready[ready_first] = ready[other];
        ready[other] = kept;
    }
    unsigned thread = ready[ready_first];
    ready_first = (ready_first + 1) % max_threads;
    ready_count--;
    return thread;
}

void release_barrier()
{
    votes = {static_cast<int>(predicate_count), static_cast<int>(arrived)};
    arrived = predicate_count = 0;
    if (chosen_order == shuffled) arrange(order, thread_count);
    for (unsigned i = 0; i < thread_count; i++) push_ready(order[i]);
}

// Ends the meeting of `mask` where everyone of it that is there has come.
bool try_meeting(unsigned warp, unsigned mask)
{
    unsigned needed = mask & ~warps[warp].absent;
    if ((warps[warp].waiting & needed) != needed) return false;
    Thread* lanes = threads + warp * 32;
    const char* operation = nullptr;
    for (unsigned rest = needed; rest; rest &= rest - 1) {
        const Thread& lane = lanes[__builtin_ctz(rest)];
        if (lane.mask != mask) return false;
        if (operation && strcmp(operation, lane.operation) != 0) {
            stop("kernel %s: lanes of one warp meet in %s and in %s", grid.name, operation, lane.operation);
        }
        operation = lane.operation;
    }
    Meeting* meeting = free_meetings[--free_meeting_count];
    if (needed != ~0u) memset(meeting->values, 0xff, sizeof meeting->values);
    meeting->present = needed;
    meeting->readers = __builtin_popcount(needed);
    for (unsigned i = 0; i < 32; i++) {
        unsigned lane = chosen_order == reverse ? 31 - i : i;
        if (!(needed >> lane & 1)) continue;
        Thread& thread = lanes[lane];
        memcpy(meeting->values[lane], thread.value, thread.bytes);
        thread.meeting = meeting;
        push_ready(warp * 32 + lane);
    }
    warps[warp].waiting &= ~needed;
    return true;
}

void finish_thread(unsigned thread)
{
    threads[thread].state = Thread::finished;
    finished_count++;
    Warp& warp = warps[thread / 32];
    warp.absent |= 1u << thread % 32;
    for (unsigned rest = warp.waiting; rest; rest &= rest - 1) {
        unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
        if (warp.waiting >> lane & 1) try_meeting(thread / 32, threads[thread / 32 * 32 + lane].mask);
    }
}

void run_fiber()
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    for (;;) {
        Fiber* fiber = nullptr;
        while (started < thread_count) {
            unsigned thread = order[started++];
            if (!fiber) fiber = idle[idle_count];  // start_thread() left it there
            threads[thread].fiber = fiber;
            make_current(thread);
            grid.run_thread(grid.arguments);
            finish_thread(current);
            if (ready_count) break;
        }
        idle[idle_count++] = fiber;
        go_to_scheduler(*fiber);
    }
}

void start_thread()
{
    if (idle_count == 0) {
        Fiber& fiber = fibers[fiber_count];
        emulation_stack(fiber_count++, stack_bytes, &fiber.stack);
        prepare_context(fiber.context, fiber.stack, stack_bytes, run_fiber);
        idle[idle_count++] = &fiber;
    }
    go_to_fiber(*idle[--idle_count]);
}

void wait_for_others()
{
    unsigned thread = current;
    go_to_scheduler(*threads[thread].fiber);
}

void report_stuck()
{
    unsigned at_barrier = 0, in_warp = 0;
    const Thread* lane = nullptr;
    for (unsigned i = 0; i < thread_count; i++) {
        at_barrier += threads[i].state == Thread::at_barrier;
        if (threads[i].state != Thread::in_warp) continue;
        in_warp++;
        lane = &threads[i];
    }
    if (in_warp == 0) {
        report("kernel %s, block (%u, %u, %u): divergent __syncthreads: %u of %u threads wait, %u have returned",
               grid.name, blockIdx.x, blockIdx.y, blockIdx.z, at_barrier, thread_count, finished_count);
    } else {
        report("kernel %s, block (%u, %u, %u): thread (%u, %u, %u) waits in %s with mask 0x%08x for lanes that do "
               "not come (%u threads wait at __syncthreads, %u have returned)",
               grid.name, blockIdx.x, blockIdx.y, blockIdx.z, lane->index.x, lane->index.y, lane->index.z,
               lane->operation, lane->mask, at_barrier, finished_count);
    }
}

void prepare_block()
{
    current_block++;
    started = finished_count = arrived = predicate_count = ready_count = ready_first = 0;
    static_shared_bytes = 0;
    free_meeting_count = thread_count;
    for (unsigned i = 0; i < thread_count; i++) free_meetings[i] = &meetings[i];
    arrange(order, thread_count);
    unsigned thread = 0;
    for (unsigned z = 0; z < grid.block.z; z++) {
        for (unsigned y = 0; y < grid.block.y; y++) {
            for (unsigned x = 0; x < grid.block.x; x++) {
                threads[thread].index = {x, y, z};
                threads[thread++].state = Thread::running;
            }
        }
    }
    for (unsigned i = 0; i < (thread_count + 31) / 32; i++) {
        unsigned lanes = thread_count - i * 32;
        warps[i] = {lanes >= 32 ? 0 : ~0u << lanes, 0};
    }
    memset(dynamic_shared_memory, 0xff, grid.dynamic_shared_bytes);
}

void run_block()
{
    prepare_block();
    while (finished_count < thread_count && !is_broken) {
        if (ready_count && (chosen_order != shuffled || started == thread_count || draw(2))) {
            unsigned thread = take_ready();
            make_current(thread);
            go_to_fiber(*threads[thread].fiber);
        } else if (started < thread_count) {
            start_thread();
        } else {
            report_stuck();
        }
    }
}

}  // namespace

void stop(const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    go_to_scheduler(*threads[current].fiber);  // which never comes back
    abort();
}

Votes meet_block(int predicate)
{
    predicate_count += predicate != 0;
    threads[current].state = Thread::at_barrier;
    if (++arrived == thread_count) release_barrier();
    wait_for_others();
    return votes;
}

const Meeting* meet_warp(unsigned mask, const char* operation, const void* value, unsigned bytes)
{
    Thread& thread = threads[current];
    if (!(mask >> current_lane & 1)) {
        stop("kernel %s: lane %u calls %s with mask 0x%08x, of which it is no part", grid.name, current_lane,
             operation, mask);
    }
    thread.mask = mask;
    thread.operation = operation;
    thread.bytes = bytes;
    memcpy(thread.value, value, bytes);
    thread.state = Thread::in_warp;
    warps[current / 32].waiting |= 1u << current_lane;
    try_meeting(current / 32, mask);
    wait_for_others();
    return thread.meeting;
}

void leave_warp(const Meeting* meeting)
{
    auto* own = const_cast<Meeting*>(meeting);
    if (--own->readers == 0) free_meetings[free_meeting_count++] = own;
}

void claim_shared(void* bytes, size_t size, unsigned long long* owner)
{
    *owner = current_block;
    memset(bytes, 0xff, size);
    static_shared_bytes += size;
    if (static_shared_bytes > static_shared_limit) {
        stop("kernel %s: %zu bytes of static shared memory, of at most %zu", grid.name, static_shared_bytes,
             static_shared_limit);
    }
    if (static_shared_bytes + grid.dynamic_shared_bytes > shared_limit) {
        stop("kernel %s: %zu bytes of static and %zu of dynamic shared memory, of at most %zu", grid.name,
             static_shared_bytes, grid.dynamic_shared_bytes, shared_limit);
    }
}

cudaError_t run_grid(const Grid& launched)
{
    grid = launched;
    thread_count = grid.block.x * grid.block.y * grid.block.z;
    gridDim = grid.grid;
    blockDim = grid.block;
    choose_order();
    int was_owner = 0;
    emulation_own_stacks(fibers, &was_owner);
    if (!was_owner) idle_count = fiber_count = 0;  // another artefact's threads have used the stacks
    uint64_t blocks = uint64_t(grid.grid.x) * grid.grid.y * grid.grid.z;
    auto* numbers = static_cast<uint64_t*>(chosen_order == shuffled ? malloc(blocks * sizeof(uint64_t)) : nullptr);
    if (numbers) arrange(numbers, blocks);
    for (uint64_t i = 0; i < blocks && !is_broken; i++) {
        uint64_t number = numbers ? numbers[i] : chosen_order == reverse ? blocks - 1 - i : i;
        blockIdx.x = static_cast<unsigned>(number % grid.grid.x);
        blockIdx.y = static_cast<unsigned>(number / grid.grid.x % grid.grid.y);
        blockIdx.z = static_cast<unsigned>(number / grid.grid.x / grid.grid.y);
        run_block();
    }
    free(numbers);
    if (!is_broken) return cudaSuccess;
    is_broken = false;
    idle_count = fiber_count = 0;  // their stacks hold threads that never end
    return emulation_fail(cudaErrorLaunchFailure);
}

}  // namespace emulation

// What -fsanitize=alignment calls: the beginning of its record of an access, as compilers write it.
struct Access {
    const char* file;
    uint32_t line, column;
    const void* type;
    unsigned char alignment_bits, kind;
};

extern "C" [[noreturn]] EMULATION_HIDDEN void __ubsan_handle_type_mismatch_v1_abort(const Access* access, uintptr_t pointer)
{
    emulation::stop("kernel %s: misaligned access: %p is no multiple of %u bytes, %s:%u", emulation::grid.name,
                    reinterpret_cast<void*>(pointer), 1u << access->alignment_bits, access->file, access->line);
}
