package import SwanSystem
package import Torch

/// The store of a job, served by this process.
package struct StoreService: Sendable {
    /// The store, which is served as long as it is kept.
    package let store: ProcessStore
    /// The port on which the others reach it.
    package let port: UInt16

    /// Serves a store.
    ///
    /// - Parameters:
    ///   - host: The address that the others use.
    ///   - port: 0 for any free port.
    ///   - isLocal: Whether all processes are on this machine.
    /// - Throws: `deviceUnavailable` if the port is taken, `invalidRequest` if the host is wrong.
    package static func open(
        _ host: String,
        port: UInt16,
        isLocal: Bool,
        deadline: Duration
    ) throws(SwanError) -> StoreService {
        do throws(SwanError) {
            let (socket, port) = try ListeningSocket.open(host, port: port, isLocal: isLocal)
            let store = try ProcessStore(
                host: host,
                port: port,
                socket: socket,
                deadline: deadline
            )
            return StoreService(store: store, port: port)
        } catch {
            throw SwanError(
                error.code,
                "cannot serve the store of the job on port \(port): \(error.message)",
                cause: error
            )
        }
    }
}
