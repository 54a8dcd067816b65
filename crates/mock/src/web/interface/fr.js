catalog = {
  'Code': 'Code', 'Confirm': 'Confirmer', 'Connection failed': 'Connexion impossible', 'Console': 'Console',
  'CPU': 'Processeur', 'Log': 'Journal', 'Log in': 'Se connecter', 'Log out': 'Se déconnecter',
  'Login failed. Please try again': 'Échec de la connexion', 'Memory': 'Mémoire', 'Name': 'Nom',
  'Node': 'Nœud', 'Password': 'Mot de passe', 'Resources': 'Ressources', 'Second factor': 'Second facteur',
  'Shell': 'Shell', 'Shutdown': 'Arrêter', 'Start': 'Démarrer', 'Status': 'État',
  'Type': 'Type', 'Task': 'Tâche', 'Tasks': 'Tâches', 'Time': 'Heure', 'Upload': 'Téléverser', 'User': 'Utilisateur',
};
