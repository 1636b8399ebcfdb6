import Foundation
import SwanSystem
import Torch

/// The terminal that the ranks of a machine share, on which an error is to stand once.
package struct SharedTerminal {
    private let launch: Launch
    private let machine: String

    /// How long the rank that an error comes from has to say it before those who heard of it.
    private static let headStart = 0.4
    private static let patience = 2.0

    /// The terminal of `swan launch`; nil if each rank has its own.
    package init?(
        _ launch: Launch,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        guard launch.sharesTerminal else { return nil }
        self.launch = launch
        machine = environment["GROUP_RANK"] ?? "0"
    }

    /// Whether this rank writes the error that ends it: the first one to ask on this machine does.
    package func writes(_ error: any Error) -> Bool {
        if (error as? SwanError)?.code == .peerFailed {
            Thread.sleep(forTimeInterval: Self.headStart)
        }
        let count = answer(within: Self.patience) { [launch, machine] () -> Int? in
            do throws(SwanError) {
                return try ProcessStore(
                    host: launch.host,
                    port: launch.port,
                    deadline: .seconds(Self.patience)
                ).add("swan/\(launch.restart)/said/\(machine)", 1)
            } catch {
                // The store is gone, and with it whoever else could have said it.
                return nil
            }
        }
        return count.flatMap { $0 } ?? 1 == 1
    }
}
