/* CUDA's vector types and dim3, for C and C++, with CUDA's alignments. */
#ifndef CASTOFF_EMULATION_VECTORS_H
#define CASTOFF_EMULATION_VECTORS_H

#define EMULATED_VECTORS(name, scalar, align2, align4)                                        \
    typedef struct name##1 { scalar x; } name##1;                                             \
    typedef struct __attribute__((aligned(align2))) name##2 { scalar x, y; } name##2;         \
    typedef struct name##3 { scalar x, y, z; } name##3;                                       \
    typedef struct __attribute__((aligned(align4))) name##4 { scalar x, y, z, w; } name##4;

EMULATED_VECTORS(char, signed char, 2, 4)
EMULATED_VECTORS(uchar, unsigned char, 2, 4)
EMULATED_VECTORS(short, short, 4, 8)
EMULATED_VECTORS(ushort, unsigned short, 4, 8)
EMULATED_VECTORS(int, int, 8, 16)
EMULATED_VECTORS(uint, unsigned int, 8, 16)
EMULATED_VECTORS(long, long, 16, 16)
EMULATED_VECTORS(ulong, unsigned long, 16, 16)
EMULATED_VECTORS(longlong, long long, 16, 16)
EMULATED_VECTORS(ulonglong, unsigned long long, 16, 16)
EMULATED_VECTORS(float, float, 8, 16)
EMULATED_VECTORS(double, double, 16, 16)
#undef EMULATED_VECTORS

#ifdef __cplusplus
#define EMULATED_MAKERS(name, scalar)                                                         \
    static inline name##1 make_##name##1(scalar x) { return {x}; }                            \
    static inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }               \
    static inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }  \
    static inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w)              \
    {                                                                                         \
        return {x, y, z, w};                                                                  \
    }

EMULATED_MAKERS(char, signed char)
EMULATED_MAKERS(uchar, unsigned char)
EMULATED_MAKERS(short, short)
EMULATED_MAKERS(ushort, unsigned short)
EMULATED_MAKERS(int, int)
EMULATED_MAKERS(uint, unsigned int)
EMULATED_MAKERS(long, long)
EMULATED_MAKERS(ulong, unsigned long)
EMULATED_MAKERS(longlong, long long)
EMULATED_MAKERS(ulonglong, unsigned long long)
EMULATED_MAKERS(float, float)
EMULATED_MAKERS(double, double)
#undef EMULATED_MAKERS
#endif

typedef struct dim3 {
    unsigned int x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
#endif
} dim3;

#endif
