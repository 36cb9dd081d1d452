// The policy's allocator, in place of the C library's: blocks stand one behind the other, and only the last one is
// taken back, since an instance lives for one evaluation. An answer so takes half of the memory, and to write to a page
// of it for the first time is a good part of what an evaluation costs.
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536
#define ALIGNMENT 8  // of every block; its length stands in the four bytes before it

extern char __heap_base;
static uintptr_t next, end;

static uint32_t *length_of(void *block) {
    return (uint32_t *)block - 1;
}

// Whether memory reaches up to `stop`, if need be after growing.
static int reaches(uintptr_t stop) {
    if (stop > end) {
        size_t pages = (stop - end + PAGE - 1) / PAGE;
        size_t before = __builtin_wasm_memory_grow(0, pages);
        if (before == SIZE_MAX || before * PAGE != end) {
            return 0;
        }
        end += pages * PAGE;
    }
    return 1;
}

// A new block. Not malloc itself, since a compiler makes of malloc and memset a call of calloc.
static void *take(size_t size) {
    if (!next) {
        next = (uintptr_t)&__heap_base;
        end = __builtin_wasm_memory_size(0) * PAGE;
    }
    uintptr_t block = (next + sizeof(uint32_t) + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    if (size > UINT32_MAX - block || !reaches(block + size)) {
        errno = ENOMEM;
        return NULL;
    }
    next = block + size;
    *length_of((void *)block) = (uint32_t)size;
    return (void *)block;
}

void *malloc(size_t size) {
    return take(size);
}

void free(void *block) {
    if (block && (uintptr_t)block + *length_of(block) == next) {
        next = (uintptr_t)length_of(block);
    }
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = take(bytes);
    return block ? memset(block, 0, bytes) : NULL;  // what was taken back is not zero
}

void *realloc(void *block, size_t size) {
    if (!block) {
        return take(size);
    }
    uint32_t old = *length_of(block);
    if ((uintptr_t)block + old == next && size <= UINT32_MAX - (uintptr_t)block && reaches((uintptr_t)block + size)) {
        next = (uintptr_t)block + size;
        *length_of(block) = (uint32_t)size;
        return block;
    }
    if (size <= old) {
        return block;
    }
    void *moved = take(size);
    return moved ? memcpy(moved, block, old) : NULL;
}
