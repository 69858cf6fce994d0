// Function objects of libcu++ that go with CUB.
#pragma once

namespace cuda {
namespace std {
#define EMULATED_OPERATOR(name, expression)                                                      \
    template <typename T = void> struct name {                                                   \
        constexpr auto operator()(const T& a, const T& b) const { return expression; }           \
    };                                                                                           \
    template <> struct name<void> {                                                              \
        template <typename A, typename B> constexpr auto operator()(const A& a, const B& b) const \
        {                                                                                        \
            return expression;                                                                   \
        }                                                                                        \
    };
EMULATED_OPERATOR(plus, a + b)
EMULATED_OPERATOR(minus, a - b)
EMULATED_OPERATOR(multiplies, a* b)
EMULATED_OPERATOR(equal_to, a == b)
EMULATED_OPERATOR(not_equal_to, a != b)
EMULATED_OPERATOR(less, a < b)
EMULATED_OPERATOR(greater, a > b)
EMULATED_OPERATOR(less_equal, a <= b)
EMULATED_OPERATOR(greater_equal, a >= b)
EMULATED_OPERATOR(logical_and, a&& b)
EMULATED_OPERATOR(logical_or, a || b)
EMULATED_OPERATOR(bit_and, a& b)
EMULATED_OPERATOR(bit_or, a | b)
EMULATED_OPERATOR(bit_xor, a ^ b)
}  // namespace std
EMULATED_OPERATOR(minimum, b < a ? b : a)
EMULATED_OPERATOR(maximum, a < b ? b : a)
#undef EMULATED_OPERATOR
}  // namespace cuda
