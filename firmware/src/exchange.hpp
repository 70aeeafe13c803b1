// Updates and downloads that travel coded (firmware/federation), and the state that a client keeps for them.
//
// The exchange buffer is the arena: between steps nothing lives there, and the compiler sees to it that the longest
// update fits. ENCODE writes it and FETCH reads it; LOAD writes it and APPLY reads it.
#pragma once

#include "link/messages.hpp"
#include "link/session.hpp"
#include "program.hpp"

namespace exchange {

inline constexpr bool kFederated = ftte::program::kBaseBytes > 0;

// The parameters that have come down whole are the base from now on.
void begun();

// Requests, each refused with kNotFederated where the program has no client's state.
void encode(const link::EncodeRequest& fields, link::Reply& reply);
void fetch(const link::ReadRequest& fields, link::Reply& reply);
void load(const link::Request& request, link::Reply& reply);

// Whether the parameters are now those that the server means. A difference that turns out to be to another base has
// spoilt the base: the server then sends the parameters whole.
bool apply(const link::ApplyRequest& fields, link::Reply& reply);

}  // namespace exchange
