import Foundation
import Testing

@testable import SwanHTTP

/// The program that listens on a port.
struct PortOwnerTests {
    @Test func socketsAreFoundInTheKernelsTable() {
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "   0: 0100007F:1EB4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4242 1 0 100",
            "   1: 0100007F:1EB4 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000 0 4243 1 0 100",
            "   2: 0100007F:1EB5 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4244 1 0 100",
            "   3: broken",
        ]
        #expect(PortOwner.listeners(in: table, on: 7860) == ["4242"])
        #expect(PortOwner.listeners(in: table, on: 7861) == ["4244"])
        #expect(PortOwner.listeners(in: table, on: 1) == [])
        #expect(PortOwner.listeners(in: [], on: 7860) == [])
    }
}
