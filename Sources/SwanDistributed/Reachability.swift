import Foundation
import SwanSystem

/// Waits for a service to accept connections, as a launcher starts processes in any order.
enum Reachability {
    private static let attempt = 2.0
    private static let pause = 0.1

    /// Returns when something listens on a port.
    ///
    /// - Throws: `peerFailed` with the last reason when the deadline has passed.
    static func wait(
        _ host: String,
        port: UInt16,
        until end: ContinuousClock.Instant
    ) throws(SwanError) {
        while true {
            guard let reason = failure(host, port, end) else { return }
            guard .now + .seconds(pause) < end else { throw SwanError(.peerFailed, reason) }
            Thread.sleep(forTimeInterval: pause)
        }
    }

    /// Why a connection is not possible; nil if it is.
    private static func failure(
        _ host: String,
        _ port: UInt16,
        _ end: ContinuousClock.Instant
    ) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &list)
        guard status == 0 else { return String(cString: gai_strerror(status)) }
        defer { freeaddrinfo(list) }
        var reason = "it has no address"
        var next = list
        while let info = next?.pointee {
            next = info.ai_next
            let seconds = min(attempt, max(0.01, (end - .now).seconds))
            guard let failure = failure(info, seconds) else { return nil }
            reason = failure
        }
        return reason
    }

    private static func failure(_ info: addrinfo, _ seconds: Double) -> String? {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(info.ai_family, type | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return SwanError.reason(errno) }
        defer { close(descriptor) }
        if connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 { return nil }
        guard errno == EINPROGRESS else { return SwanError.reason(errno) }
        var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard Glibc.poll(&poll, 1, Int32(seconds * 1_000)) > 0 else {
            return SwanError.reason(ETIMEDOUT)
        }
        var number: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size)
        return number == 0 ? nil : SwanError.reason(number)
    }
}
