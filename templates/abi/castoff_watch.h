/* castoff_watch.h: what the address sanitizer may see of memory that is shared out by us; nothing without it. */
#ifndef CASTOFF_WATCH_H
#define CASTOFF_WATCH_H

#if defined(__SANITIZE_ADDRESS__)
#define CASTOFF_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CASTOFF_WATCHED 1
#endif
#endif

#if defined(CASTOFF_WATCHED) && !defined(CASTOFF_CUDA)
#include <sanitizer/asan_interface.h>
/* Whoever touches hidden memory is stopped. */
#define castoff_hide(memory, size_bytes) __asan_poison_memory_region(memory, size_bytes)
#define castoff_show(memory, size_bytes) __asan_unpoison_memory_region(memory, size_bytes)
#else
#define castoff_hide(memory, size_bytes) ((void)(memory), (void)(size_bytes))
#define castoff_show(memory, size_bytes) ((void)(memory), (void)(size_bytes))
#endif

/* What follows aligned memory up to the next aligned address. */
#define castoff_hide_padding(memory, size_bytes) \
  castoff_hide((memory) + (size_bytes), -(size_bytes) & (CASTOFF_ALIGNMENT - 1))

#endif
