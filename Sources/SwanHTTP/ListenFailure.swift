import Glibc
import NIOCore
import NIOPosix
import SwanSystem

/// Explains why a server cannot listen on an address.
enum ListenFailure {
    /// The error for the user; nil for errors that have nothing to do with the address.
    static func explained(_ error: any Error, host: String, port: Int) async -> SwanError? {
        let place = Authority(host: host)?.text ?? host.printable()
        switch error {
        case let error as IOError where error.errnoCode == EADDRINUSE:
            return SwanError(.deviceUnavailable, await inUse(place, host, port), cause: error)
        case let error as IOError where error.errnoCode == EACCES:
            return SwanError(
                .deviceUnavailable,
                "port \(port): only root may listen on it; use a port from 1024",
                cause: error
            )
        case let error as IOError where error.errnoCode == EADDRNOTAVAIL:
            return SwanError(.invalidRequest, notLocal(place), cause: error)
        case is SocketAddressError, is SocketAddressError.UnknownHost:
            return SwanError(.invalidRequest, notLocal(place), cause: error)
        default:
            return nil
        }
    }

    private static func inUse(_ place: String, _ host: String, _ port: Int) async -> String {
        var text = "\(place):\(port): another program uses this port"
        if let owner = PortOwner.ofListener(on: port) {
            text += ": \(owner)"
        } else {
            text += "; \"ss -ltnp 'sport = :\(port)'\" shows which"
        }
        if let free = await freePort(after: port, host: host) { text += "; port \(free) is free" }
        return text
    }

    private static func notLocal(_ place: String) -> String {
        "\(place): is not an address of this machine; use 127.0.0.1 for this machine only, or 0.0.0.0 for all networks"
    }

    /// Returns the next port that is free.
    private static func freePort(after port: Int, host: String) async -> Int? {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        for candidate in (port + 1)...(port + 20) where candidate <= 65535 {
            guard let channel = try? await bootstrap.bind(host: host, port: candidate).get() else {
                continue
            }
            try? await channel.close()
            return candidate
        }
        return nil
    }
}
