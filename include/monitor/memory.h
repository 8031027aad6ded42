// What a monitor keeps in memory while it waits: every container has one, mostly asleep.
#pragma once

namespace caisson::memory {

/// Lets go of the pages of the program that starting has touched, and of the heap it has left. The program lies in a sealed memfd or a
/// file: what is needed again is mapped again, page by page.
void settle();

}  // namespace caisson::memory
