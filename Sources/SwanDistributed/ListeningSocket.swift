import Glibc
import SwanSystem

/// The socket on which a process serves the store: bound to the address that the others use. If
/// other machines reach this one at an address that it does not have itself, it is bound to all.
enum ListeningSocket {
    /// Opens the socket.
    ///
    /// - Parameters:
    ///   - port: 0 for any free port.
    ///   - isLocal: Whether all clients are on this machine. If not, a name that stands for the
    ///     loopback interface here, as a machine's own name often does, is another address there.
    /// - Throws: `invalidRequest` if the name does not resolve, or all clients are on this machine
    ///   and the address is not; `deviceUnavailable` if the port is taken.
    static func open(
        _ host: String,
        port: UInt16,
        isLocal: Bool
    ) throws(SwanError) -> (socket: Int32, port: UInt16) {
        var list: UnsafeMutablePointer<addrinfo>?
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        let status = getaddrinfo(host, "\(port)", &hints, &list)
        guard status == 0 else {
            throw SwanError(
                .invalidRequest,
                "the name \(host.printable(limit: 100)) does not resolve "
                    + "(\(String(cString: gai_strerror(status)))); check MASTER_ADDR or --master"
            )
        }
        defer { freeaddrinfo(list) }
        var next = list
        while let info = next?.pointee {
            next = info.ai_next
            guard isLocal || !isLoopback(info) else { continue }
            if let found = try listen(info) { return found }
        }
        guard !isLocal else {
            throw SwanError(
                .invalidRequest,
                "\(host.printable(limit: 100)) is not an address of this machine, which starts all "
                    + "ranks; set MASTER_ADDR or --master to 127.0.0.1 (ranks on several machines "
                    + "need LOCAL_WORLD_SIZE or --nnodes)"
            )
        }
        return try listenEverywhere(port)
    }

    private static func isLoopback(_ info: addrinfo) -> Bool {
        guard info.ai_family == AF_INET, let address = info.ai_addr else {
            return info.ai_family == AF_INET6 && info.ai_addr.map(isLoopback6) ?? false
        }
        return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
            UInt32(bigEndian: $0.pointee.sin_addr.s_addr) >> 24 == 127
        }
    }

    private static func isLoopback6(_ address: UnsafeMutablePointer<sockaddr>) -> Bool {
        address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
            withUnsafeBytes(of: pointer.pointee.sin6_addr) {
                $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1
            }
        }
    }

    /// Listens on an address; nil if it is not one of this machine's.
    private static func listen(_ info: addrinfo) throws(SwanError) -> (Int32, UInt16)? {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(info.ai_family, type, 0)
        guard descriptor >= 0 else { return nil }
        var (yes, no) = (Int32(1), Int32(0))
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, size)
        if info.ai_family == AF_INET6 {
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &no, size)
        }
        guard bind(descriptor, info.ai_addr, info.ai_addrlen) == 0,
            Glibc.listen(descriptor, SOMAXCONN) == 0
        else {
            let reason = errno
            close(descriptor)
            // Another address may do; a taken port stays taken.
            if [EADDRNOTAVAIL, EAFNOSUPPORT].contains(reason) { return nil }
            throw failure(reason)
        }
        return (descriptor, port(of: descriptor))
    }

    private static func failure(_ reason: Int32) -> SwanError {
        let text =
            switch reason {
            case EADDRINUSE: "another program uses it, perhaps another job"
            case EACCES: "only root may listen on it"
            default: SwanError.reason(reason)
            }
        return SwanError(
            .deviceUnavailable,
            "\(text); choose another port with MASTER_PORT or --master"
        )
    }

    private static func listenEverywhere(_ port: UInt16) throws(SwanError) -> (Int32, UInt16) {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        let found = try withInfo(&address, AF_INET6, listen)
        if let found { return found }
        var older = sockaddr_in()
        older.sin_family = sa_family_t(AF_INET)
        older.sin_port = port.bigEndian
        guard let found = try withInfo(&older, AF_INET, listen) else {
            throw SwanError(.deviceUnavailable, "this machine has no network address to listen on")
        }
        return found
    }

    private static func withInfo<Address, Result>(
        _ address: inout Address,
        _ family: Int32,
        _ body: (addrinfo) throws(SwanError) -> Result
    ) throws(SwanError) -> Result {
        var info = addrinfo()
        info.ai_family = family
        info.ai_addrlen = socklen_t(MemoryLayout<Address>.size)
        return try withUnsafeMutablePointer(to: &address) { pointer throws(SwanError) in
            info.ai_addr = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            return try body(info)
        }
    }

    private static func port(of descriptor: Int32) -> UInt16 {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // The port is at the same place in both families.
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = getsockname(descriptor, $0, &length)
            }
            return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt16(bigEndian: $0.pointee.sin_port)
            }
        }
    }
}
