catalog = {
  'Code': 'Code', 'Confirm': 'Bestätigen', 'Connection failed': 'Keine Verbindung', 'Console': 'Konsole',
  'CPU': 'CPU', 'Log': 'Protokoll', 'Log in': 'Anmelden', 'Log out': 'Abmelden',
  'Login failed. Please try again': 'Anmeldung fehlgeschlagen', 'Memory': 'Speicher', 'Name': 'Name',
  'Node': 'Knoten', 'Password': 'Passwort', 'Resources': 'Ressourcen', 'Second factor': 'Zweiter Faktor',
  'Shell': 'Shell', 'Shutdown': 'Herunterfahren', 'Start': 'Start', 'Status': 'Zustand',
  'Type': 'Art', 'Task': 'Aufgabe', 'Tasks': 'Aufgaben', 'Time': 'Zeit', 'Upload': 'Hochladen', 'User': 'Benutzer',
};
