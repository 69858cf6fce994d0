// Switching between the stacks of the threads of a block.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)

namespace emulation {
extern "C" __attribute__((visibility("hidden"))) void emulation_switch(void** from, void* to);
struct Context {
    void* stack_pointer = nullptr;
};
}  // namespace emulation

asm(R"(
    .pushsection .text
    .hidden emulation_switch
    .globl emulation_switch
    .type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulation_switch, .-emulation_switch
    .popsection
)");

namespace emulation {
inline void prepare_context(Context& context, char* stack, size_t bytes, void (*entry)())
{
    auto** top = reinterpret_cast<void**>(stack + bytes);
    *--top = nullptr;  // where entry() would return to, and what aligns its stack
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    context.stack_pointer = top;
}
inline void switch_context(Context& from, Context& to) { emulation_switch(&from.stack_pointer, to.stack_pointer); }
}  // namespace emulation

#else

#include <ucontext.h>

namespace emulation {
struct Context {
    ucontext_t context{};
};
inline void prepare_context(Context& context, char* stack, size_t bytes, void (*entry)())
{
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = stack;
    context.context.uc_stack.ss_size = bytes;
    makecontext(&context.context, entry, 0);
}
inline void switch_context(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
}  // namespace emulation

#endif
