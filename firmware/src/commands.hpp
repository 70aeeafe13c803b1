// What the firmware does on request: docs/architecture.md, section Link, lists the messages.
#pragma once

#include "link/session.hpp"

namespace commands {

void execute(void* session, const link::Request& request, link::Reply& reply);  // a link::Handler's function

// Says in the log, once after a boot, why the board started and at which clock.
void log_boot(link::Session& session);

}  // namespace commands
