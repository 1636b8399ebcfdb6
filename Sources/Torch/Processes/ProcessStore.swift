import CTorch
package import SwanSystem
import Foundation

/// Keys and values that all processes of a job see: c10d's TCPStore.
///
/// A store is used by one thread at a time; `clone` makes one for another thread. It is not
/// authenticated: for trusted networks only.
package final class ProcessStore: @unchecked Sendable {
    let raw: ct_store

    private init(_ raw: ct_store) { self.raw = raw }

    /// Connects to the store at an address, or serves it there.
    ///
    /// - Parameter socket: A socket that listens on the port, which the store then owns; nil to
    ///   connect to a store that another process serves.
    package convenience init(
        host: String,
        port: UInt16,
        socket: Int32? = nil,
        deadline: Duration
    ) throws(SwanError) {
        let store: ct_store = try engine { error in
            ct_store_open(host, port, socket ?? -1, deadline.milliseconds, &error)
        }
        self.init(store)
    }

    deinit { ct_store_release(raw) }

    /// Another connection to the same store.
    package func clone() throws(SwanError) -> ProcessStore {
        ProcessStore(try engine { error in ct_store_clone(raw, &error) })
    }

    /// The part of the store whose keys begin with `prefix`.
    package func part(_ prefix: String) throws(SwanError) -> ProcessStore {
        ProcessStore(try engine { error in ct_store_part(raw, prefix, &error) })
    }

    /// Sets the value of a key.
    package func set(_ key: String, _ value: String) throws(SwanError) {
        var error = ct_error()
        let isSet = Array(value.utf8).withUnsafeBytes { bytes in
            ct_store_set(raw, key, bytes.baseAddress, bytes.count, &error)
        }
        guard isSet else { throw SwanError(taking: &error) }
    }

    /// Waits for the value of a key.
    package func get(_ key: String, within deadline: Duration) throws(SwanError) -> String {
        var error = ct_error()
        var bytes: UnsafeMutableRawPointer?
        var count = 0
        guard ct_store_get(raw, key, deadline.milliseconds, &bytes, &count, &error) else {
            throw SwanError(taking: &error)
        }
        defer { free(bytes) }
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    /// Adds to the counter of a key and returns its new value.
    @discardableResult
    package func add(_ key: String, _ amount: Int) throws(SwanError) -> Int {
        var error = ct_error()
        var result: Int64 = 0
        guard ct_store_add(raw, key, Int64(amount), &result, &error) else {
            throw SwanError(taking: &error)
        }
        return Int(result)
    }

    /// Whether a key has a value.
    package func contains(_ key: String) throws(SwanError) -> Bool {
        var error = ct_error()
        var result = false
        guard ct_store_has(raw, key, &result, &error) else { throw SwanError(taking: &error) }
        return result
    }
}

/// Calls a function of the C interface that returns null on failure.
func engine<Handle>(_ body: (inout ct_error) -> Handle?) throws(SwanError) -> Handle {
    var error = ct_error()
    guard let handle = body(&error) else { throw SwanError(taking: &error) }
    return handle
}

extension Duration {
    /// The duration in whole milliseconds, at least 1.
    var milliseconds: Int64 {
        max(1, components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000)
    }
}
